//! Tells systemd that the service is ready, and that it is alive for as long as it is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The notification socket of systemd, after `sd_notify(3)` and `sd_watchdog_enabled(3)`.
///
/// ```no_run
/// # async fn example(pulse: evenkeel_heartbeat::PulseId, monitor: evenkeel_heartbeat::Monitor) -> std::io::Result<()> {
/// use evenkeel_heartbeat::{Health, Systemd};
///
/// if let Some(systemd) = Systemd::from_env()? {
///     systemd.ready()?;
///     // A pulse that is silent or closed lets the watchdog bark.
///     let live = || matches!(monitor.health(pulse), Health::Live | Health::Busy);
///     systemd.watch(live).await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Systemd {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// The socket that the environment names; `None` if systemd did not start the process, or asked for no
    /// notifications.
    ///
    /// Takes the interval of the watchdog from `WATCHDOG_USEC`, unless `WATCHDOG_PID` names another process.
    ///
    /// # Errors
    ///
    /// If the socket cannot be reached.
    pub fn from_env() -> io::Result<Option<Self>> {
        Self::from_vars(|name| std::env::var_os(name), std::process::id())
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>, pid: u32) -> io::Result<Option<Self>> {
        let Some(socket) = var("NOTIFY_SOCKET") else {
            return Ok(None);
        };
        let number = |name| var(name).map(|value| value.to_str().and_then(|v| v.parse().ok()));
        let ours = match number("WATCHDOG_PID") {
            None => true,
            Some(named) => named == Some(u64::from(pid)),
        };
        let watchdog = match number("WATCHDOG_USEC") {
            Some(Some(usec)) if usec > 0 && ours => Some(Duration::from_micros(usec)),
            _ => None,
        };
        Self::connect(&socket, watchdog).map(Some)
    }

    fn connect(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A manager that does not read must not block us.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, watchdog })
    }

    /// `READY=1`: start-up is done.
    ///
    /// # Errors
    ///
    /// If the message cannot be sent.
    pub fn ready(&self) -> io::Result<()> {
        self.send("READY=1")
    }

    /// `STOPPING=1`: shutdown has begun.
    ///
    /// # Errors
    ///
    /// If the message cannot be sent.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    /// Within what time the watchdog wants to hear of us; `None` if it is off.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends `WATCHDOG=1` at once and every half of the watchdog's time, as long as `live` says so; never returns. Without
    /// a watchdog it waits for ever.
    ///
    /// If `live` does not, or the message cannot be sent, it asks again after an eighth of that time, so that one such moment is
    /// not the end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it holds nothing.
    pub async fn watch(&self, mut live: impl FnMut() -> bool) {
        let Some(time) = self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            let told = live() && self.send("WATCHDOG=1").is_ok();
            tokio::time::sleep(time / if told { 2 } else { 8 }).await;
        }
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send(message.as_bytes()).map(drop)
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A manager's socket, and the service's end of it in an environment.
    struct Manager {
        socket: UnixDatagram,
        name: OsString,
    }

    impl Manager {
        fn at_path() -> Self {
            use std::sync::atomic::{AtomicU32, Ordering};
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("evenkeel-notify-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self {
                socket,
                name: path.into(),
            }
        }

        fn service(&self, vars: &[(&str, &str)], pid: u32) -> Systemd {
            let var = |name: &str| match name {
                "NOTIFY_SOCKET" => Some(self.name.clone()),
                _ => vars
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into()),
            };
            Systemd::from_vars(var, pid).unwrap().unwrap()
        }

        fn heard(&self) -> Vec<String> {
            let mut heard = Vec::new();
            let mut buffer = [0; 64];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
            heard
        }
    }

    impl Drop for Manager {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.name);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_of_the_living_and_of_nobody_else() {
        let manager = Manager::at_path();
        let service = manager.service(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "7")], 7);
        service.ready().unwrap();
        assert_eq!(manager.heard(), ["READY=1"]);
        let live = std::cell::Cell::new(true);
        let watch = service.watch(|| live.get());
        let script = async {
            tokio::time::sleep(Duration::from_millis(3_500)).await;
            assert_eq!(manager.heard(), ["WATCHDOG=1"; 4], "at 0, 1, 2 and 3 s");
            live.set(false);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(manager.heard().is_empty(), "hung, and said nothing");
            live.set(true);
            // It is asked every quarter of a second, and once it has said so, a second later.
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(manager.heard(), ["WATCHDOG=1"]);
        };
        tokio::select! {
            () = watch => unreachable!(),
            () = script => {}
        }
        service.stopping().unwrap();
        assert_eq!(manager.heard(), ["STOPPING=1"]);
    }

    #[test]
    fn the_environment_says_whether_there_is_a_watchdog_and_whose() {
        let manager = Manager::at_path();
        for (vars, expected) in [
            (&[][..], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "nonsense")], None),
            (
                &[("WATCHDOG_USEC", "30000000")],
                Some(Duration::from_secs(30)),
            ),
            (
                &[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "8")],
                None,
            ),
            (
                &[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "nonsense")],
                None,
            ),
        ] {
            assert_eq!(manager.service(vars, 7).watchdog(), expected, "{vars:?}");
        }
        assert!(Systemd::from_vars(|_| None, 7).unwrap().is_none());
        let gone = |name: &str| (name == "NOTIFY_SOCKET").then(|| "/nowhere/at/all".into());
        assert!(Systemd::from_vars(gone, 7).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_socket_will_do() {
        let name = format!("@evenkeel-notify-{}", std::process::id());
        let address = abstract_address(&name.as_bytes()[1..]).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let service = Systemd::connect(name.as_ref(), None).unwrap();
        service.ready().unwrap();
        let mut buffer = [0; 64];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 7);
        assert_eq!(&buffer[..7], b"READY=1");
    }

    #[test]
    fn a_manager_that_does_not_read_blocks_nobody() {
        let manager = Manager::at_path();
        let service = manager.service(&[], 7);
        let full = (0..100_000).find_map(|_| service.ready().err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
