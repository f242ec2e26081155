//! The request budgets of subscriptions: kept to, instead of run into.
//!
//! Resource Manager gives each subscription token buckets for reads, writes and deletes, and tells what is left with every answer
//! (<https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>). A request takes its turn here:
//! at once while there are tokens, otherwise when its token will have come in. Turns are given in the order of asking, so that none of many
//! operations waits for ever, and polls cannot starve what changes something: each kind has a bucket of its own.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use azure_core::http::{Method, Url};

/// A kind of request with a bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reads,
    Writes,
    Deletes,
}

impl Kind {
    fn of(method: Method) -> Self {
        match method {
            Method::Get | Method::Head => Self::Reads,
            Method::Delete => Self::Deletes,
            _ => Self::Writes,
        }
    }

    /// The bucket's size, and how many tokens come in each second.
    fn bucket(self) -> (f64, f64) {
        match self {
            Self::Reads => (250.0, 25.0),
            Self::Writes | Self::Deletes => (200.0, 10.0),
        }
    }

    /// The header that tells how many are left.
    fn header(self) -> &'static str {
        match self {
            Self::Reads => "x-ms-ratelimit-remaining-subscription-reads",
            Self::Writes => "x-ms-ratelimit-remaining-subscription-writes",
            Self::Deletes => "x-ms-ratelimit-remaining-subscription-deletes",
        }
    }
}

/// Tokens that are left for others: for the portal, and for what the count of an answer misses.
const LEFT_FOR_OTHERS: f64 = 5.0;

struct Bucket {
    subscription: String,
    kind: Kind,
    /// What is left once all turns given are taken; below zero while some wait.
    tokens: f64,
    filled_at: Duration,
    /// Turns given whose answers have not come.
    outstanding: f64,
    /// The service has asked for quiet until then.
    closed_until: Duration,
}

impl Bucket {
    fn fill(&mut self, now: Duration) {
        let (size, rate) = self.kind.bucket();
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        // A service that has told of more than the usual size is not contradicted.
        self.tokens = (self.tokens + passed * rate).min(size.max(self.tokens));
        self.filled_at = now;
    }
}

/// The budgets of all subscriptions that a client asks. Times are the host's `elapsed`.
#[derive(Default)]
pub struct Budgets {
    // A handful of subscriptions at most: searching is faster than hashing.
    buckets: Mutex<Vec<Bucket>>,
}

impl Budgets {
    /// A turn for a request; `None` for one that no subscription's budget covers.
    pub fn turn(&self, method: Method, url: &Url, now: Duration) -> Option<Turn<'_>> {
        let mut segments = url.path_segments()?.skip_while(|segment| !segment.eq_ignore_ascii_case("subscriptions"));
        let subscription = segments.nth(1).filter(|subscription| !subscription.is_empty())?.to_ascii_lowercase();
        let kind = Kind::of(method);
        let mut buckets = self.lock();
        let known = buckets.iter().position(|bucket| bucket.kind == kind && bucket.subscription == subscription);
        let index = known.unwrap_or_else(|| {
            let tokens = kind.bucket().0;
            buckets.push(Bucket { subscription, kind, tokens, filled_at: now, outstanding: 0.0, closed_until: Duration::ZERO });
            buckets.len() - 1
        });
        let bucket = &mut buckets[index];
        bucket.fill(now);
        bucket.tokens -= 1.0;
        bucket.outstanding += 1.0;
        let missing = (LEFT_FOR_OTHERS - bucket.tokens).max(0.0);
        let wait = Duration::from_secs_f64(missing / kind.bucket().1).max(bucket.closed_until.saturating_sub(now));
        Some(Turn { budgets: self, index, wait })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's turn; given back when dropped without an answer.
pub struct Turn<'a> {
    budgets: &'a Budgets,
    index: usize,
    /// How long to wait before sending.
    pub wait: Duration,
}

impl Turn<'_> {
    /// Takes the service's word for what is left, and for how long it wants quiet.
    pub fn answered(self, status: u16, headers: &[(String, String)], quiet: Option<Duration>, now: Duration) {
        let mut buckets = self.budgets.lock();
        let bucket = &mut buckets[self.index];
        bucket.fill(now);
        let left = headers.iter().find(|(name, _)| name == bucket.kind.header()).and_then(|(_, value)| value.trim().parse::<u32>().ok());
        if let Some(left) = left {
            // Some of those outstanding may be counted in already: then the estimate is too low by them until the next answer.
            bucket.tokens = f64::from(left) - (bucket.outstanding - 1.0);
        }
        if let (429, Some(quiet)) = (status, quiet) {
            bucket.closed_until = bucket.closed_until.max(now + quiet);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut buckets = self.budgets.lock();
        buckets[self.index].outstanding -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(7);

    fn url(path: &str) -> Url {
        Url::parse(&format!("https://management.example{path}")).expect("a URL")
    }

    /// Takes turns that are answered at once with what is left, or with nothing.
    fn take(budgets: &Budgets, count: usize, now: Duration, left: Option<u32>) {
        for _ in 0..count {
            let turn = budgets.turn(Method::Put, &url("/subscriptions/a/x"), now).expect("a turn");
            let headers: Vec<_> = left.map(|left| (Kind::Writes.header().to_owned(), left.to_string())).into_iter().collect();
            turn.answered(200, &headers, None, now);
        }
    }

    fn wait(budgets: &Budgets, now: Duration) -> f64 {
        budgets.turn(Method::Put, &url("/Subscriptions/A/x"), now).expect("a turn").wait.as_secs_f64()
    }

    #[test]
    fn there_is_no_wait_while_there_are_tokens() {
        let budgets = Budgets::default();
        take(&budgets, 190, START, None);
        assert!(wait(&budgets, START).abs() < 1e-9);
        assert!(budgets.turn(Method::Get, &url("/providers/Microsoft.Resources"), START).is_none());
        assert!(budgets.turn(Method::Get, &url("/subscriptions/"), START).is_none());
    }

    #[test]
    fn turns_come_at_the_bucket_s_rate_in_the_order_of_asking() {
        let budgets = Budgets::default();
        take(&budgets, 195, START, None);
        let turns: Vec<_> = (0..30).filter_map(|_| budgets.turn(Method::Post, &url("/subscriptions/a/y"), START)).collect();
        for (position, turn) in turns.iter().enumerate() {
            let expected = 0.1 * f64::from(u32::try_from(position + 1).expect("few"));
            assert!((turn.wait.as_secs_f64() - expected).abs() < 1e-6, "{position}: {:?}", turn.wait);
        }
        assert!(budgets.turn(Method::Delete, &url("/subscriptions/a/y"), START).expect("a turn").wait.is_zero(), "another kind");
        assert!(budgets.turn(Method::Put, &url("/subscriptions/b/y"), START).expect("a turn").wait.is_zero(), "another subscription");
    }

    #[test]
    fn tokens_come_in_again() {
        let budgets = Budgets::default();
        take(&budgets, 200, START, None);
        assert!(wait(&budgets, START) > 0.5);
        assert!(wait(&budgets, START + Duration::from_secs(2)).abs() < 1e-9);
    }

    #[test]
    fn the_service_s_word_counts_more_than_our_own() {
        let budgets = Budgets::default();
        take(&budgets, 1, START, Some(3));
        assert!((wait(&budgets, START) - 0.3).abs() < 1e-6, "others have used it up");
        take(&budgets, 1, START, Some(11_999));
        take(&budgets, 1000, START, None);
        assert!(wait(&budgets, START).abs() < 1e-9, "a subscription may have more");
    }

    #[test]
    fn quiet_is_kept_by_all() {
        let budgets = Budgets::default();
        let turn = budgets.turn(Method::Put, &url("/subscriptions/a/x"), START).expect("a turn");
        turn.answered(429, &[], Some(Duration::from_secs(9)), START);
        assert!((wait(&budgets, START) - 9.0).abs() < 1e-6);
        assert!((wait(&budgets, START + Duration::from_secs(4)) - 5.0).abs() < 1e-6);
        assert!(wait(&budgets, START + Duration::from_secs(9)).abs() < 1e-9);
    }
}
