//! Looking host names up without the C library: the file of hosts, and DNS (RFC 1034, RFC 1035).
//!
//! A program that is linked statically with glibc must not ask it for names. Its `getaddrinfo`
//! loads the modules that `/etc/nsswitch.conf` names, and the C library of the machine with them;
//! where that is another version, which is the rule on other distributions, the process dies.
//! musl has no modules, and all else is linked dynamically: there the system's look-up is used.

pub mod config;
pub mod hosts_file;
pub mod lookup;
pub mod message;

/// Whether the C library must not be asked for names of hosts or users.
pub const WITHOUT_LIBC: bool = cfg!(all(target_env = "gnu", target_feature = "crt-static"));
