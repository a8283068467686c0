//! Limits as a server tells them to its clients: the values of the HTTP fields `RateLimit` and `RateLimit-Policy`, as
//! draft-ietf-httpapi-ratelimit-headers-11 has them, and the seconds of a `Retry-After`. Strings only, for any HTTP library.
//!
//! ```
//! use evenkeel_bucket::headers::{self, Quotas};
//! use evenkeel_bucket::{All, Bucket, Keyed, Rate};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), evenkeel_bucket::Denied> {
//! let second = Duration::from_secs(1);
//! let clients = Keyed::<str>::new(Rate::per(2, second), 10, 1_000).named("client");
//! let service = Bucket::new(Rate::per(500, second), 1_000).named("service");
//!
//! let both = All::new([clients.key("ann")?]).and(&service);
//! both.try_acquire(10)?;
//! let denied = both.try_acquire(3).unwrap_err();
//! assert_eq!(denied.retry_after().map(headers::delay_seconds), Some(2));
//!
//! let told = Quotas::of_key(&clients, "ann").and(Quotas::of(&service));
//! assert_eq!(told.policy().unwrap(), r#""client";q=10;w=5, "service";q=1000;w=2"#);
//! assert_eq!(told.rate_limit().unwrap(), r#""client";r=0;t=1, "service";r=990;t=1"#);
//! # Ok(()) }
//! ```

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use crate::all::Member;
use crate::denied::Name;
use crate::line::Limit;
use crate::{Denied, Keyed, Level, time};

/// The name of the field that says what is left.
pub const RATE_LIMIT: &str = "ratelimit";

/// The name of the field that says what is allowed.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";

/// The greatest integer of a structured field (RFC 9651, section 3.3.1).
const MAX_INTEGER: u128 = 999_999_999_999_999;

const SECOND: u128 = 1_000_000_000;

/// Limits as they stood at one moment, to be told to the client whose request they concern.
///
/// A limit is called by the [name](crate::Bucket::named) of its bucket, so give each its own. What a name has besides printable
/// ASCII is percent-encoded. A bucket that is [unlimited](crate::Rate::UNLIMITED) is left out.
///
/// Tell a client of the limits that are its own. What the whole service has left is at most a hint for somebody who wants
/// to use it up.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Vec<Quota>);

/// What is limited: a bucket, by its id, or that of a key, by the id of the table and the key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    Bucket(u64),
    Key(u64, u64),
}

#[derive(Clone, Debug)]
struct Quota {
    id: Id,
    name: Name,
    limit: Limit,
    level: Level,
    partition: Option<Box<[u8]>>,
}

impl Quotas {
    /// The limit of a [`Bucket`](crate::Bucket) or a [`Key`](crate::Key), or those of an [`All`](crate::All), most
    /// restrictive first.
    #[must_use]
    pub fn of(limits: impl Member) -> Self {
        let mut parts = Vec::new();
        limits.parts(&mut parts);
        let now = time::now();
        let quotas = parts.into_iter().map(|part| {
            let (gate, name, key) = (part.0, part.1, part.2);
            let own = key.and_then(|key| key.place());
            let id = own.map_or(Id::Bucket(gate.id), |(table, hash)| Id::Key(table, hash));
            Quota::new(id, name, gate.limit(), gate.level(now))
        });
        let mut quotas: Vec<_> = quotas.collect();
        quotas.sort_by_key(|quota| (quota.limit.rate, quota.limit.depth));
        Self::default().extended(quotas)
    }

    /// The limit of `key`, which gets no place in the table by it; see [`Keyed::peek`].
    #[must_use]
    pub fn of_key<K: Hash + ?Sized, S: BuildHasher>(keyed: &Keyed<K, S>, key: &K) -> Self {
        let (name, limit) = (keyed.name.clone(), keyed.table.limit());
        let id = Id::Key(keyed.table.id(), keyed.hash(key));
        let quota = Quota::new(id, name, limit, keyed.peek(key));
        Self::default().extended([quota])
    }

    /// These and `others`; a bucket that is among both, or a key, is told once.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        self.extended(others.0)
    }

    /// Says to whom these limits apply, if that is not said yet: the parameter `pk`, which tells a client that acts for several
    /// apart whose quota it is. It is readable for whoever sees the response, so it is to be no secret.
    #[must_use]
    pub fn partition(mut self, key: impl AsRef<[u8]>) -> Self {
        for quota in &mut self.0 {
            quota.partition.get_or_insert_with(|| key.as_ref().into());
        }
        self
    }

    fn extended(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        for quota in quotas {
            let known = self.0.iter().any(|known| known.id == quota.id);
            if !known && !quota.limit.rate.is_unlimited() {
                self.0.push(quota);
            }
        }
        self
    }

    /// The value of `RateLimit`: of each limit the tokens `r` that there are, and the time `t` in which no more than those can
    /// be had, until the next token comes, in seconds rounded up. `t` is left out where none comes.
    ///
    /// So `t` is not the time until the bucket is full, and a `Retry-After` for a refusal by the same limit is not before it. Others in
    /// line are not seen in it. `None` if nothing limits: then send no such field.
    #[must_use]
    pub fn rate_limit(&self) -> Option<String> {
        self.list(|quota, to| {
            write!(to, ";r={}", quota.level.tokens)?;
            quota.until_next().map_or(Ok(()), |t| write!(to, ";t={t}"))
        })
    }

    /// The value of `RateLimit-Policy`: of each limit the depth as `q`, and as `w` the time in which so many tokens come, in
    /// seconds rounded up. `w` is left out where none come.
    ///
    /// Who takes no more than `q` in any time `w` is never refused. At a depth below what comes in a second that is less than
    /// could be had, since the draft knows no part of a second. `None` if nothing limits: then send no such field.
    #[must_use]
    pub fn policy(&self) -> Option<String> {
        self.list(|quota, to| {
            write!(to, ";q={}", quota.limit.depth)?;
            quota.window().map_or(Ok(()), |w| write!(to, ";w={w}"))
        })
    }

    fn list(&self, parameters: impl Fn(&Quota, &mut String) -> fmt::Result) -> Option<String> {
        let mut list = String::new();
        for quota in &self.0 {
            if !list.is_empty() {
                list.push_str(", ");
            }
            let written = write!(list, "{}", Quoted(quota.name.as_str()))
                .and_then(|()| parameters(quota, &mut list))
                .and_then(|()| match &quota.partition {
                    Some(key) => write!(list, ";pk={}", Bytes(key)),
                    None => Ok(()),
                });
            debug_assert!(written.is_ok(), "a string takes everything");
        }
        (!list.is_empty()).then_some(list)
    }
}

impl Quota {
    fn new(id: Id, name: Name, limit: Limit, level: Level) -> Self {
        Self {
            id,
            name,
            limit,
            level,
            partition: None,
        }
    }

    fn until_next(&self) -> Option<u64> {
        match self.level.next? {
            // Full: what is taken now begins to come again.
            Duration::ZERO => self.time_for(1),
            next => Some(delay_seconds(next)),
        }
    }

    fn window(&self) -> Option<u64> {
        self.time_for(self.limit.depth)
    }

    /// Seconds, rounded up, in which `tokens` come to a bucket that has room for them.
    fn time_for(&self, tokens: u32) -> Option<u64> {
        let Limit { rate, depth } = self.limit;
        if rate.is_zero() || depth == 0 {
            return None;
        }
        let nanos = u128::from(tokens) * u128::from(rate.nanos);
        let seconds = nanos.div_ceil(u128::from(rate.tokens) * SECOND);
        let told = u64::try_from(seconds).ok();
        told.filter(|_| seconds <= MAX_INTEGER)
    }
}

/// The value of `RateLimit` for a refusal, where nothing but that is at hand: that limit has nothing left until it is worth to
/// come back. `None` if the refusal does not [say](Denied::retry_after) when; what the limit allows is not known from it.
#[must_use]
pub fn refused(denied: &Denied) -> Option<String> {
    let wait = delay_seconds(denied.retry_after()?);
    Some(format!("{};r=0;t={wait}", Quoted(denied.by())))
}

/// A time in whole seconds, rounded up, so that nobody comes too early: the value of `Retry-After`.
#[must_use]
pub fn delay_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() != 0))
}

/// A String of RFC 9651, which is of printable ASCII; the rest is percent-encoded.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(byte.into())?,
                _ => write!(f, "%{byte:02x}")?,
            }
        }
        f.write_char('"')
    }
}

/// A Byte Sequence of RFC 9651.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        f.write_char(':')?;
        for three in self.0.chunks(3) {
            let mut bits = [0; 4];
            bits[1..=three.len()].copy_from_slice(three);
            let bits = u32::from_be_bytes(bits);
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
                let there = place <= three.len();
                f.write_char(if there { digit.into() } else { '=' })?;
            }
        }
        f.write_char(':')
    }
}
