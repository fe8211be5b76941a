//! One mint per name, bounds, renewal.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tls::testing::new_authority;

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

/// A cache that counts its mints, all of which give the same certificate.
fn counting() -> (Arc<CertCache>, Arc<AtomicUsize>) {
    let authority = new_authority();
    let key = authority.mint(&LeafNames::for_host("any.example").unwrap()).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let cache = CertCache::with_mint(Box::new(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::clone(&key))
    }));
    (Arc::new(cache), count)
}

#[test]
fn many_that_ask_at_once_cause_one_mint() {
    let (cache, count) = counting();
    let barrier = Barrier::new(32);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                barrier.wait();
                cache.get_at("a.example", now()).unwrap();
            });
        }
    });
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(cache.len(), 1);
}

#[test]
fn spellings_of_one_name_share_a_certificate() {
    let (cache, count) = counting();
    for host in
        ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "xn--bcher-kva.example."]
    {
        cache.get_at(host, now()).unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn certificates_are_renewed_before_they_run_out() {
    let (cache, count) = counting();
    for (days, mints) in [(0, 1), (100, 1), (182, 1), (184, 2), (185, 2), (180, 3)] {
        cache.get_at("a.example", now() + Duration::days(days)).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), mints, "after {days} days");
    }
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let (cache, count) = counting();
    for i in 0..2 * CERT_CACHE_HOSTS {
        cache.get_at(&format!("h{i}.example"), now()).unwrap();
        cache.get_at("used.example", now()).unwrap();
    }
    assert!(cache.len() <= CERT_CACHE_HOSTS, "{}", cache.len());
    assert!(cache.len() > CERT_CACHE_HOSTS * 9 / 10, "{}", cache.len());
    assert_eq!(count.load(Ordering::SeqCst), 2 * CERT_CACHE_HOSTS + 1);
}

#[test]
fn a_failed_mint_is_tried_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let cache = CertCache::with_mint(Box::new(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        Err(TlsError::other("no"))
    }));
    assert!(cache.get("a.example").is_err());
    assert!(cache.get("a.example").is_err());
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert!(cache.is_empty());
    let orders: usize = cache.shards.iter().map(|shard| lock(shard).order.len()).sum();
    assert_eq!(orders, 0);
}

#[test]
fn what_is_no_host_is_not_kept() {
    let (cache, count) = counting();
    assert!(cache.get("a b").is_err());
    assert!(cache.is_empty());
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
