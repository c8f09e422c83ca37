//! Logs: one JSON object a line on standard output.

use tracing::Level;

/// Starts logging from `level` on.
pub fn init(level: Level) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .json()
        // Fields stand on the event and not in a span, where they would be written and read again.
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        // Standard output, unbuffered: one write a line, nothing sampled, nothing dropped.
        .with_writer(std::io::stdout)
        .init();
}
