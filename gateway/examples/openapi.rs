//! Writes the OpenAPI description of the HTTP part, for docs/openapi.json.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

fn main() -> Result<(), serde_json::Error> {
    println!("{}", serde_json::to_string_pretty(&gateway::http::openapi::description())?);
    Ok(())
}
