//! Leaf certificates by host: sharded, bounded, one mint for many that wait.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

use crate::limits::CERT_CACHE_HOSTS;

use super::authority::{Authority, leaf_use};
use super::ca_file::BACKDATED;
use super::leaf::{LeafName, LeafNames};
use super::session::TlsError;

/// Parts of the cache with a lock each, so that loops rarely meet.
const SHARDS: usize = 16;
const SHARD_HOSTS: usize = CERT_CACHE_HOSTS / SHARDS;

type Minted = Result<Arc<CertifiedKey>, TlsError>;
type Mint = dyn Fn(LeafName, OffsetDateTime) -> Minted + Send + Sync;

/// The leaf certificates of all loops.
pub struct CertCache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    mint: Box<Mint>,
}

/// Entries, and their names from the oldest on; every name stands in both exactly once.
#[derive(Default)]
struct Shard {
    entries: HashMap<Arc<LeafName>, Entry>,
    order: VecDeque<Arc<LeafName>>,
}

struct Entry {
    /// Filled by whoever comes first; the others wait for it.
    cell: Arc<OnceLock<Minted>>,
    minted_at: OffsetDateTime,
    /// Asked for since eviction last looked at it.
    used: bool,
}

impl fmt::Debug for CertCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertCache").field("hosts", &self.len()).finish_non_exhaustive()
    }
}

impl CertCache {
    /// An empty cache in front of `authority`.
    pub fn new(authority: Arc<Authority>) -> Self {
        Self::with_mint(Box::new(move |name, now| authority.mint_at(&LeafNames::from(name), now)))
    }

    fn with_mint(mint: Box<Mint>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        CertCache { shards, hasher: RandomState::new(), mint }
    }

    /// The certificate for `host`, a DNS name or an IP address. Where there is none yet, one
    /// caller mints it and the others that want it wait.
    ///
    /// # Errors
    /// When `host` cannot stand in a certificate or signing fails.
    pub fn get(&self, host: &str) -> Result<Arc<CertifiedKey>, TlsError> {
        self.get_at(host, OffsetDateTime::now_utc())
    }

    fn get_at(&self, host: &str, now: OffsetDateTime) -> Minted {
        let name = LeafName::parse(host)?;
        let cell = self.shard(&name).cell(&name, now);
        let minted = cell.get_or_init(|| (self.mint)(name.clone(), now)).clone();
        if minted.is_err() {
            // The next who asks tries again.
            self.shard(&name).forget(&name, &cell);
        }
        minted
    }

    /// The number of certificates that are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    /// Whether no certificate is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[allow(clippy::indexing_slicing, reason = "the index is taken modulo the fixed length")]
    fn shard(&self, name: &LeafName) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(name);
        lock(&self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()])
    }
}

impl Shard {
    /// The place of `name`'s certificate, perhaps still empty.
    fn cell(&mut self, name: &LeafName, now: OffsetDateTime) -> Arc<OnceLock<Minted>> {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.used = true;
            if !entry.is_usable(now) {
                entry.cell = Arc::default();
                entry.minted_at = now;
            }
            return Arc::clone(&entry.cell);
        }
        while self.entries.len() >= SHARD_HOSTS {
            self.evict_one();
        }
        let name = Arc::new(name.clone());
        let cell = Arc::<OnceLock<Minted>>::default();
        self.order.push_back(Arc::clone(&name));
        let entry = Entry { cell: Arc::clone(&cell), minted_at: now, used: false };
        self.entries.insert(name, entry);
        cell
    }

    /// Looks at the oldest: one that was asked for again gets a second chance, else it goes.
    fn evict_one(&mut self) {
        let Some(name) = self.order.pop_front() else {
            self.entries.clear();
            return;
        };
        match self.entries.get_mut(&name) {
            Some(entry) if entry.used => {
                entry.used = false;
                self.order.push_back(name);
            }
            _ => {
                self.entries.remove(&name);
            }
        }
    }

    /// Removes the entry of `name` if it still is `cell`.
    fn forget(&mut self, name: &LeafName, cell: &Arc<OnceLock<Minted>>) {
        if self.entries.get(name).is_some_and(|entry| Arc::ptr_eq(&entry.cell, cell)) {
            self.entries.remove(name);
            self.order.retain(|other| **other != *name);
        }
    }
}

impl Entry {
    /// Whether the certificate has long enough to live, also if the clock was set back.
    fn is_usable(&self, now: OffsetDateTime) -> bool {
        let age: Duration = now - self.minted_at;
        age > -BACKDATED && age < leaf_use()
    }
}

/// The data of a shard is whole after every statement, so a panic elsewhere does not spoil it.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
