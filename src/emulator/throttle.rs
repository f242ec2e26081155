//! Token buckets per subscription: reads, writes, deletes; and the headers that count them down.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::error::ApiError;

/// A kind of request with its own bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// GET and HEAD.
    Reads,
    /// PUT, POST, PATCH.
    Writes,
    /// DELETE.
    Deletes,
}

impl Kind {
    /// The kind of a method.
    pub fn of(method: &str) -> Self {
        match method {
            "GET" | "HEAD" => Self::Reads,
            "DELETE" => Self::Deletes,
            _ => Self::Writes,
        }
    }

    /// The bucket's size, and tokens per second.
    fn bucket(self) -> (f64, f64) {
        match self {
            Self::Reads => (250.0, 25.0),
            Self::Writes | Self::Deletes => (200.0, 10.0),
        }
    }

    /// The header that tells what is left.
    pub fn header(self) -> &'static str {
        match self {
            Self::Reads => "x-ms-ratelimit-remaining-subscription-reads",
            Self::Writes => "x-ms-ratelimit-remaining-subscription-writes",
            Self::Deletes => "x-ms-ratelimit-remaining-subscription-deletes",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Reads => "read",
            Self::Writes => "write",
            Self::Deletes => "delete",
        }
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// All buckets.
#[derive(Debug, Default)]
pub struct Throttle {
    buckets: Mutex<HashMap<(String, Kind), Bucket>>,
}

impl Throttle {
    /// What a request leaves in its bucket when throttling is off.
    pub fn untouched(kind: Kind) -> u32 {
        whole(kind.bucket().0 - 1.0)
    }

    /// Takes a token and tells how many are left, or how long to wait.
    pub fn take(&self, subscription: &str, kind: Kind, now: Instant) -> Result<u32, ApiError> {
        let (size, rate) = kind.bucket();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((subscription.to_ascii_lowercase(), kind)).or_insert(Bucket { tokens: size, filled_at: now });
        let passed = now.saturating_duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(size);
        bucket.filled_at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(whole(bucket.tokens));
        }
        let wait = whole(((1.0 - bucket.tokens) / rate).ceil()).max(1);
        Err(ApiError::new(
            429,
            "SubscriptionRequestsThrottled",
            format!(
                "Number of '{}' requests for subscription '{subscription}' exceeded the limit. Please try again after '{wait}' seconds.",
                kind.word()
            ),
        )
        .with_header("Retry-After", wait.to_string())
        .with_header(kind.header(), "0"))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bucket holds 0 to 250 tokens")]
fn whole(tokens: f64) -> u32 {
    tokens.max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_runs_dry_and_fills_again() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for left in (0..250).rev() {
            assert_eq!(throttle.take("s", Kind::Reads, start).expect("a token"), left);
        }
        let error = throttle.take("S", Kind::Reads, start).expect_err("dry");
        assert_eq!((error.status, error.code.as_str()), (429, "SubscriptionRequestsThrottled"));
        assert!(throttle.take("s", Kind::Writes, start).is_ok());
        assert!(throttle.take("s", Kind::Reads, start + Duration::from_millis(50)).is_ok());
    }
}
