//! Ids as the API spells them.

use uuid::Uuid;

/// Reads an id in the one spelling that the API takes: a lower-case UUID with hyphens.
pub fn parse_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    let mut canonical = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut canonical) == text).then_some(id)
}

#[cfg(test)]
mod tests;
