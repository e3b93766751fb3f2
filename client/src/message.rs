//! What answers an order, read in the call or outside of it.

use serde::{Serialize, Serializer};

use crate::order::Given;

/// A sentence that may name an order, which is typed otherwise in the call than outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    in_the_call: String,
    outside: String,
}

impl Message {
    pub(crate) fn naming(words: impl Fn(Given) -> String) -> Self {
        Self { in_the_call: words(Given::InTheCall), outside: words(Given::Outside) }
    }

    /// As it is read there.
    pub(crate) fn read(&self, there: Given) -> &str {
        match there {
            Given::InTheCall => &self.in_the_call,
            Given::Outside => &self.outside,
        }
    }
}

impl From<String> for Message {
    /// The same everywhere.
    fn from(words: String) -> Self {
        Self { in_the_call: words.clone(), outside: words }
    }
}

impl From<&str> for Message {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.in_the_call)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_orders_as_they_are_typed_where_it_is_read() {
        let message = Message::naming(|given| format!("{} ends it.", given.typed("undeafen")));
        assert_eq!(message.read(Given::InTheCall), "/undeafen ends it.");
        assert_eq!(message.read(Given::Outside), "`voicechat ctl undeafen` ends it.");
        assert_eq!(serde_json::to_value(&message).unwrap(), "/undeafen ends it.");
    }
}
