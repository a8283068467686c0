use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use crate::id::random;

/// Where reports come from: the program, the machine and the process.
///
/// There is one for a process, read by every report. A program says who it is first thing in `main`:
///
/// ```
/// use evenkeel_errors::Origin;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// Origin::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).set()?;
/// assert_eq!(Origin::get().pid(), std::process::id());
/// # Ok(())
/// # }
/// ```
///
/// If it does not, the service is the name of the executable and the version `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    service: Cow<'static, str>,
    version: Cow<'static, str>,
    host: Cow<'static, str>,
    instance: Cow<'static, str>,
    pid: u32,
}

static ORIGIN: OnceLock<Origin> = OnceLock::new();

impl Origin {
    /// The program `service` in its `version`, on this host and in this process.
    ///
    /// The host's name comes from `/proc/sys/kernel/hostname`, or where there is none from the variables `HOSTNAME` or
    /// `COMPUTERNAME`, else it is `unknown`. The instance is sixteen random hexadecimal digits, which tell two runs
    /// apart that have the same pid, as the first process of every container does.
    #[must_use]
    pub fn new(
        service: impl Into<Cow<'static, str>>,
        version: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            service: service.into(),
            version: version.into(),
            host: host(),
            instance: format!("{:016x}", random()).into(),
            pid: std::process::id(),
        }
    }

    /// Replaces the host's name.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<Cow<'static, str>>) -> Self {
        self.host = host.into();
        self
    }

    /// Replaces the name of this run, say by the name of a pod.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<Cow<'static, str>>) -> Self {
        self.instance = instance.into();
        self
    }

    /// Makes this the origin of every report of the process.
    ///
    /// # Errors
    ///
    /// [`OriginSet`] if the process has an origin already: another was set, or somebody asked for it, by
    /// [`get`](Self::get), a report's `Debug` or a sink. The origin then stays what it was.
    pub fn set(self) -> Result<(), OriginSet> {
        ORIGIN.set(self).map_err(|_| OriginSet(()))
    }

    /// The origin of every report of the process, which from now on does not change.
    pub fn get() -> &'static Self {
        ORIGIN.get_or_init(|| {
            let service = std::env::current_exe().ok().and_then(|path| {
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned())
            });
            Self::new(service.map_or(UNKNOWN, Cow::Owned), UNKNOWN)
        })
    }

    /// The program.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The program's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The machine.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The run of the program.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

const UNKNOWN: Cow<'static, str> = Cow::Borrowed("unknown");

fn host() -> Cow<'static, str> {
    let kernel = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).ok();
    kernel
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .map_or(UNKNOWN, Cow::Owned)
}

/// `service version on host (pid 1, instance i)`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            version,
            host,
            instance,
            pid,
        } = self;
        write!(
            f,
            "{service} {version} on {host} (pid {pid}, instance {instance})"
        )
    }
}

/// The process has an [`Origin`] already.
#[derive(Debug)]
pub struct OriginSet(());

impl fmt::Display for OriginSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the origin of this process is set already")
    }
}

impl Error for OriginSet {}
