//! JSON that is kept as text until somebody looks at it. As values it would take five times the memory.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// A value that may be in the store: its text, what that means, or both.
pub struct Kept<T> {
    text: Option<Arc<str>>,
    value: OnceLock<T>,
}

impl<T: Serialize + DeserializeOwned + Default> Kept<T> {
    /// The text of a value from the store.
    pub fn of(text: Arc<str>) -> Self {
        Self { text: Some(text), value: OnceLock::new() }
    }

    /// The value itself. Whoever only shows it spares the copy that looking at it would leave.
    pub fn value(&self) -> T
    where
        T: Clone,
    {
        match (self.value.get(), &self.text) {
            (None, Some(text)) => read(text),
            _ => T::clone(self),
        }
    }

    /// Another one with the same value. It is not `Clone`, so that `clone` on what is kept gives the value itself.
    pub fn again(&self) -> Self {
        Self::of(self.text())
    }

    /// The text, for the store.
    pub fn text(&self) -> Arc<str> {
        // Maps with text keys, texts and numbers: none of these fails.
        self.text.clone().unwrap_or_else(|| serde_json::to_string(&**self).unwrap_or_default().into())
    }
}

impl<T: DeserializeOwned + Default> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.get_or_init(|| self.text.as_deref().map(read).unwrap_or_default())
    }
}

impl<T: DeserializeOwned + Default> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        let _ = Deref::deref(self);
        self.text = None;
        self.value.get_mut().unwrap_or_else(|| unreachable!("it has just been looked at"))
    }
}

impl<T> From<T> for Kept<T> {
    fn from(value: T) -> Self {
        Self { text: None, value: value.into() }
    }
}

/// Reads a value and keeps its text.
impl<'de, T: Serialize + DeserializeOwned + Default> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(Self::from(T::deserialize(deserializer)?).text()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Kept").field("text", &self.text).field("value", &self.value).finish()
    }
}

/// The text is our own: it can be read.
fn read<T: DeserializeOwned + Default>(text: &str) -> T {
    parse(text.as_bytes()).unwrap_or_default()
}

/// Reads what the emulator itself has written, which may nest deeper than what clients may send.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_changed_value_has_a_new_text_and_an_unchanged_one_its_own() {
        let text: Arc<str> = r#"{"b":1.50,"a":[]}"#.into();
        let mut kept = Kept::<Value>::of(text.clone());
        assert_eq!(kept["b"].to_string(), "1.50");
        assert!(Arc::ptr_eq(&kept.text(), &text));
        assert_eq!(Kept::<Value>::of(text).value(), *kept);
        kept["a"] = json!(true);
        assert_eq!(&*kept.text(), r#"{"b":1.50,"a":true}"#);
    }

    #[test]
    fn what_nests_deeper_than_clients_may_send_is_kept() {
        let deep = (0..500).fold(json!(1), |value, _| json!([value]));
        let kept = Kept::<Value>::of(Kept::from(deep.clone()).text());
        assert_eq!(*kept, deep);
    }
}
