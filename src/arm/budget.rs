//! The request budgets of subscriptions: kept to, instead of run into.
//!
//! Resource Manager gives each subscription token buckets for reads, writes and deletes, and tells what is left with every answer
//! (<https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>). A request takes its turn here:
//! at once while there are tokens, otherwise when its token will have come in. Turns are given in the order of asking, so that none of many
//! operations waits for ever, and polls cannot starve what changes something: each kind has a bucket of its own.

use std::{
    collections::VecDeque,
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

/// The shortest wait before asking again.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest quiet that is kept at a word; a service that asks for more is asked again.
const LONGEST_QUIET: Duration = Duration::from_mins(1);

struct Bucket {
    subscription: String,
    kind: Kind,
    /// What is left, as far as we know.
    tokens: f64,
    /// Since when tokens come in; `None` before the first answer: a full bucket gains nothing, and nobody knows when it was tapped.
    filled_at: Option<Duration>,
    /// Requests that were sent and have no answer.
    outstanding: f64,
    /// The turns of those that wait, in the order of asking.
    waiting: VecDeque<u64>,
    next_turn: u64,
    /// The service has asked for quiet until then.
    closed_until: Duration,
}

impl Bucket {
    /// Counts what has come in since the last time.
    fn fill(&mut self, now: Duration) {
        let Some(since) = self.filled_at else { return };
        let (size, rate) = self.kind.bucket();
        // A service that has told of more than the usual size is not contradicted.
        self.tokens = (self.tokens + now.saturating_sub(since).as_secs_f64() * rate).min(size.max(self.tokens));
        self.filled_at = Some(now);
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
    pub fn turn(&self, method: Method, url: &Url) -> Option<Turn<'_>> {
        let mut segments = url.path_segments()?.skip_while(|segment| !segment.eq_ignore_ascii_case("subscriptions"));
        let subscription = segments.nth(1).filter(|subscription| !subscription.is_empty())?.to_ascii_lowercase();
        let kind = Kind::of(method);
        let mut buckets = self.lock();
        let known = buckets.iter().position(|bucket| bucket.kind == kind && bucket.subscription == subscription);
        let index = known.unwrap_or_else(|| {
            buckets.push(Bucket {
                subscription,
                kind,
                tokens: kind.bucket().0,
                filled_at: None,
                outstanding: 0.0,
                waiting: VecDeque::new(),
                next_turn: 0,
                closed_until: Duration::ZERO,
            });
            buckets.len() - 1
        });
        let bucket = &mut buckets[index];
        let number = bucket.next_turn;
        bucket.next_turn += 1;
        bucket.waiting.push_back(number);
        Some(Turn { budgets: self, index, number, is_sent: false })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's turn; given back when dropped.
pub struct Turn<'a> {
    budgets: &'a Budgets,
    index: usize,
    number: u64,
    is_sent: bool,
}

impl Turn<'_> {
    /// Takes the token. Otherwise tells how long to wait before asking again: by then there will be one, unless the service says otherwise.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let mut buckets = self.budgets.lock();
        let bucket = &mut buckets[self.index];
        if bucket.filled_at.is_none() && bucket.outstanding < 1.0 && bucket.tokens < bucket.kind.bucket().0 {
            // Nothing is on its way, so that no answer will tell when the bucket was tapped.
            bucket.filled_at = Some(now);
        }
        bucket.fill(now);
        let quiet = bucket.closed_until.saturating_sub(now);
        let before = bucket.waiting.iter().take_while(|number| **number != self.number).fold(0.0, |before, _| before + 1.0);
        let missing = LEFT_FOR_OTHERS + 1.0 + before - bucket.tokens;
        if missing <= 0.0 && quiet.is_zero() {
            bucket.waiting.retain(|number| *number != self.number);
            bucket.tokens -= 1.0;
            bucket.outstanding += 1.0;
            self.is_sent = true;
            return Ok(());
        }
        Err(Duration::from_secs_f64(missing.max(0.0) / bucket.kind.bucket().1).max(quiet).max(SHORTEST))
    }

    /// Takes the service's word for what is left, and for how long it wants quiet.
    pub fn answered(self, status: u16, headers: &[(String, String)], quiet: Option<Duration>, now: Duration) {
        let mut buckets = self.budgets.lock();
        let bucket = &mut buckets[self.index];
        bucket.fill(now);
        bucket.filled_at = Some(now);
        let left = headers.iter().find(|(name, _)| name == bucket.kind.header()).and_then(|(_, value)| value.trim().parse::<u32>().ok());
        if let Some(left) = left {
            // Some of those outstanding may be counted in already: then the estimate is too low by them until the next answer.
            bucket.tokens = f64::from(left) - (bucket.outstanding - 1.0);
        }
        if let (429, Some(quiet)) = (status, quiet) {
            bucket.closed_until = bucket.closed_until.max(now + quiet.min(LONGEST_QUIET));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut buckets = self.budgets.lock();
        let bucket = &mut buckets[self.index];
        if self.is_sent {
            bucket.outstanding -= 1.0;
        } else {
            bucket.waiting.retain(|number| *number != self.number);
        }
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
            let mut turn = budgets.turn(Method::Put, &url("/subscriptions/a/x")).expect("a turn");
            turn.take(now).expect("a token");
            let headers: Vec<_> = left.map(|left| (Kind::Writes.header().to_owned(), left.to_string())).into_iter().collect();
            turn.answered(200, &headers, None, now);
        }
    }

    /// How long another one would have to wait, in seconds.
    fn wait(budgets: &Budgets, now: Duration) -> f64 {
        let turn = budgets.turn(Method::Put, &url("/Subscriptions/A/x"));
        turn.expect("a turn").take(now).err().unwrap_or_default().as_secs_f64()
    }

    fn is_about(seconds: f64, expected: f64) -> bool {
        (seconds - expected).abs() < 1e-6
    }

    #[test]
    fn there_is_no_wait_while_there_are_tokens() {
        let budgets = Budgets::default();
        take(&budgets, 190, START, None);
        assert!(is_about(wait(&budgets, START), 0.0));
        assert!(budgets.turn(Method::Get, &url("/providers/Microsoft.Resources")).is_none());
        assert!(budgets.turn(Method::Get, &url("/subscriptions/")).is_none());
    }

    #[test]
    fn turns_come_at_the_bucket_s_rate_in_the_order_of_asking() {
        let budgets = Budgets::default();
        take(&budgets, 195, START, None);
        let mut turns: Vec<_> = (0..30).filter_map(|_| budgets.turn(Method::Post, &url("/subscriptions/a/y"))).collect();
        for (position, turn) in turns.iter_mut().enumerate().rev() {
            let expected = 0.1 * f64::from(u32::try_from(position + 1).expect("few"));
            let wait = turn.take(START).expect_err("no token yet").as_secs_f64();
            assert!(is_about(wait, expected), "{position}: {wait}");
        }
        // The first one's token has come in: the others do not take it.
        let now = START + Duration::from_millis(100);
        assert!(turns[1].take(now).is_err() && turns[0].take(now).is_ok());
        for (method, path, what) in [(Method::Delete, "a", "another kind"), (Method::Put, "b", "another subscription")] {
            let turn = budgets.turn(method, &url(&format!("/subscriptions/{path}/y")));
            assert!(turn.expect("a turn").take(START).is_ok(), "{what}");
        }
    }

    #[test]
    fn who_gives_up_makes_room() {
        let budgets = Budgets::default();
        take(&budgets, 195, START, None);
        let first = budgets.turn(Method::Put, &url("/subscriptions/a/y"));
        assert!(is_about(wait(&budgets, START), 0.2));
        drop(first);
        assert!(is_about(wait(&budgets, START), 0.1));
    }

    #[test]
    fn tokens_come_in_again_once_the_bucket_is_tapped() {
        let budgets = Budgets::default();
        let mut sent = Vec::new();
        for _ in 0..195 {
            let mut turn = budgets.turn(Method::Put, &url("/subscriptions/a/x")).expect("a turn");
            turn.take(START).expect("a token");
            sent.push(turn);
        }
        let later = START + Duration::from_secs(2);
        assert!(wait(&budgets, later) > 0.0, "nothing has arrived as far as anybody knows");
        sent.pop().expect("a turn").answered(200, &[], None, later);
        assert!(is_about(wait(&budgets, later + Duration::from_secs(2)), 0.0));
    }

    #[test]
    fn the_service_s_word_counts_more_than_our_own() {
        let budgets = Budgets::default();
        take(&budgets, 1, START, Some(3));
        assert!(is_about(wait(&budgets, START), 0.3), "others have used it up");
        let budgets = Budgets::default();
        take(&budgets, 1, START, Some(11_999));
        take(&budgets, 1000, START, None);
        assert!(is_about(wait(&budgets, START), 0.0), "a subscription may have more");
    }

    #[test]
    fn requests_without_answers_do_not_stop_the_others_for_ever() {
        let budgets = Budgets::default();
        for _ in 0..195 {
            budgets.turn(Method::Put, &url("/subscriptions/a/x")).expect("a turn").take(START).expect("a token");
        }
        assert!(wait(&budgets, START) > 0.0);
        assert!(is_about(wait(&budgets, START + Duration::from_secs(1)), 0.0));
    }

    #[test]
    fn quiet_is_kept_by_all() {
        let budgets = Budgets::default();
        let mut turn = budgets.turn(Method::Put, &url("/subscriptions/a/x")).expect("a turn");
        turn.take(START).expect("a token");
        turn.answered(429, &[], Some(Duration::from_secs(9)), START);
        assert!(is_about(wait(&budgets, START), 9.0));
        assert!(is_about(wait(&budgets, START + Duration::from_secs(4)), 5.0));
        assert!(is_about(wait(&budgets, START + Duration::from_secs(9)), 0.0));
        let mut turn = budgets.turn(Method::Put, &url("/subscriptions/a/x")).expect("a turn");
        turn.take(START + Duration::from_secs(9)).expect("a token");
        turn.answered(429, &[], Some(Duration::MAX), START + Duration::from_secs(9));
        assert!(is_about(wait(&budgets, START + Duration::from_secs(9)), 60.0));
    }
}
