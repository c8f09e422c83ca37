use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A place in a list that is ordered by time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub created_at: DateTime<Utc>,
    pub id: Uuid,
}

impl Position {
    /// Before all items.
    pub const START: Self = Self {
        created_at: DateTime::UNIX_EPOCH,
        id: Uuid::nil(),
    };
}

/// Asks for the items of a list after a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub after: Position,
    pub limit: u8,
}
