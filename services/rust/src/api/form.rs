//! The fields of a body: each operation takes its own.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use uuid::Uuid;

use super::body::{Scalar, flat_object};
use super::problem::{FieldError, Problem};
use crate::billing::parse_id;

const CURRENCIES: [&str; 23] = [
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "INR", "JPY",
    "KRW", "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "USD", "ZAR",
];

/// Why a field cannot be taken.
pub enum Refusal {
    /// It is malformed.
    Kind(&'static str),
    /// It is well-formed, and not allowed.
    Limit(&'static str),
}

/// The object, and what is wrong with its fields so far. They are asked for one by one, in the
/// order in which errors are to be named.
pub struct Form {
    values: HashMap<String, Scalar>,
    malformed: Vec<FieldError>,
    invalid: Vec<FieldError>,
    is_empty: bool,
}

impl Form {
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let values = flat_object(body)
            .map_err(|error| Problem::MALFORMED_BODY.because(format!("body: {error}")))?;
        Ok(Self {
            is_empty: values.is_empty(),
            values,
            malformed: Vec::new(),
            invalid: Vec::new(),
        })
    }

    /// A field that has to be there. While something is wrong with it, it is a default, which
    /// `end` keeps from being used.
    pub fn required<T: Default>(
        &mut self,
        name: &'static str,
        take: impl Fn(Scalar) -> Result<T, Refusal>,
    ) -> T {
        if !self.values.contains_key(name) {
            self.malformed.push(FieldError::new(name, "is required"));
        }
        self.optional(name, take).unwrap_or_default()
    }

    /// A field that may be there.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        take: impl Fn(Scalar) -> Result<T, Refusal>,
    ) -> Option<T> {
        let value = self.values.remove(name)?;
        match take(value) {
            Ok(value) => return Some(value),
            Err(Refusal::Kind(detail)) => self.malformed.push(FieldError::new(name, detail)),
            Err(Refusal::Limit(detail)) => self.invalid.push(FieldError::new(name, detail)),
        }
        None
    }

    /// Refuses all that was found wrong, and what was not asked for.
    pub fn end(mut self) -> Result<(), Problem> {
        if !self.values.is_empty() {
            let detail = "has a field that this operation does not take";
            self.malformed.push(FieldError::new("", detail));
        }
        if !self.malformed.is_empty() {
            return Err(Problem::WRONG_FIELDS.with_errors(self.malformed));
        }
        if !self.invalid.is_empty() {
            return Err(Problem::INVALID_FIELDS.with_errors(self.invalid));
        }
        Ok(())
    }

    /// The same for a patch, which names at least one field.
    pub fn end_of_patch(mut self) -> Result<(), Problem> {
        if self.is_empty {
            let detail = "has to name at least one field";
            self.malformed.push(FieldError::new("", detail));
        }
        self.end()
    }
}

pub fn one_of(value: Scalar, known: &[&str], detail: &'static str) -> Result<String, Refusal> {
    match value {
        Scalar::Text(text) if known.contains(&text.as_str()) => Ok(text),
        Scalar::Text(_) => Err(Refusal::Limit(detail)),
        _ => Err(Refusal::Kind("has to be a string")),
    }
}

pub fn currency(value: Scalar) -> Result<String, Refusal> {
    one_of(value, &CURRENCIES, "is not a known currency")
}

pub fn integer(
    value: Scalar,
    range: RangeInclusive<i64>,
    detail: &'static str,
) -> Result<i64, Refusal> {
    let Scalar::Number(text) = value else {
        return Err(Refusal::Kind("has to be an integer"));
    };
    // Of what JSON takes for a number, Rust takes just the integers, and `-0`.
    match text.parse() {
        Ok(number) if text != "-0" => range
            .contains(&number)
            .then_some(number)
            .ok_or(Refusal::Limit(detail)),
        _ => Err(Refusal::Kind("has to be an integer")),
    }
}

pub fn id(value: Scalar) -> Result<Uuid, Refusal> {
    match value {
        Scalar::Text(text) => parse_id(&text).ok_or(Refusal::Kind("has to be a lower-case UUID")),
        _ => Err(Refusal::Kind("has to be a string")),
    }
}
