//! Log lines as JSON, for machines: one flat object a line, whose first keys are always the same.

use std::fmt;

use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// These come first, in this order, where a line has them; `message` is the words of the line.
const FIRST: [&str; 5] = ["message", "session", "utterance", "trace_id", "span_id"];
/// Keys that every line has of itself; a field of such a name gets a `_` behind it.
const OURS: [&str; 3] = ["timestamp", "level", "target"];

/// `{"timestamp":…,"level":…,"target":…,"message":…,"session":…,"utterance":…,"trace_id":…,"span_id":…, …}`: the fields of the
/// event and of the `tracing` spans around it, the inner ones before the outer ones.
#[derive(Debug)]
pub(super) struct Json;

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(text) = span.extensions().get::<FormattedFields<JsonFields>>() {
                add(&mut fields, &text.fields);
            }
        }
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        add(&mut fields, &text);
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let meta = event.metadata();
        let line = written(&timestamp, meta.level().as_str(), meta.target(), fields).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

fn add(fields: &mut Map<String, Value>, text: &str) {
    if let Ok(Value::Object(more)) = serde_json::from_str(text) {
        let apart = |key: String| if OURS.contains(&key.as_str()) { key + "_" } else { key };
        fields.extend(more.into_iter().map(|(key, value)| (apart(key), value)));
    }
}

fn written(timestamp: &str, level: &str, target: &str, mut fields: Map<String, Value>) -> serde_json::Result<String> {
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut map = serializer.serialize_map(None)?;
    for (key, value) in OURS.into_iter().zip([timestamp, level, target]) {
        map.serialize_entry(key, value)?;
    }
    for key in FIRST {
        if let Some(value) = fields.remove(key) {
            map.serialize_entry(key, &value)?;
        }
    }
    for (key, value) in &fields {
        map.serialize_entry(key, value)?;
    }
    map.end()?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{fmt::layer, layer::SubscriberExt as _, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_flat_object_with_the_ids_of_what_it_is_about() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = layer().fmt_fields(JsonFields::new()).event_format(Json).with_writer(move || writer.clone());
        tracing::subscriber::with_default(registry().with(layer), || {
            let outer = tracing::error_span!("session", session = tracing::field::Empty, trace_id = "outer");
            outer.record("session", "s-1");
            let _outer = outer.enter();
            let _inner = tracing::error_span!("job", utterance = 7, trace_id = "inner", span_id = "span").entered();
            tracing::info!(target: "room", revision = 3, level = "own", "let go of a \"job\"\n");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let start = r#""level":"INFO","target":"room","message":"let go of a \"job\"\n","session":"s-1","utterance":7,"trace_id":"inner","span_id":"span","#;
        assert!(text.starts_with(r#"{"timestamp":"2"#) && text.contains(start), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["revision"], &line["level_"]), (&Value::from(3), &Value::from("own")));
    }
}
