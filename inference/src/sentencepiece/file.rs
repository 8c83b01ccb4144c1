//! The `.spm` file: a protocol buffer, read by hand. Field numbers are those of sentencepiece_model.proto.

/// What a piece may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Part of texts.
    Normal,
    /// Stands for all that has no piece.
    Unknown,
    /// Has a number, is never in a text.
    Control,
    /// Always one piece wherever a text has it, and never normalised.
    UserDefined,
    /// Taken out of use: BPE still merges through it.
    Unused,
    /// One byte of a character that has no piece.
    Byte,
}

/// One entry of the vocabulary.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

impl Piece {
    /// May be part of a text. A piece that is one zero byte only keeps a number occupied.
    pub(super) fn in_text(&self) -> bool {
        let kind = matches!(self.kind, PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused);
        kind && self.text != "\0"
    }
}

/// How text is prepared before it is cut.
#[derive(Debug)]
pub(super) struct NormalizerSpec {
    pub(super) charsmap: Vec<u8>,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    pub(super) escape_whitespaces: bool,
}

impl Default for NormalizerSpec {
    fn default() -> Self {
        Self { charsmap: Vec::new(), add_dummy_prefix: true, remove_extra_whitespaces: true, escape_whitespaces: true }
    }
}

/// The fields of a file that matter to text.
#[derive(Debug)]
pub(super) struct File {
    pub(super) pieces: Vec<Piece>,
    /// 1 Unigram, 2 BPE, 3 words, 4 characters.
    pub(super) kind: u64,
    pub(super) byte_fallback: bool,
    pub(super) whitespace_as_suffix: bool,
    pub(super) unknown_surface: String,
    pub(super) normalizer: NormalizerSpec,
    pub(super) denormalizer: Option<NormalizerSpec>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<File, String> {
    let mut file = File {
        pieces: Vec::new(),
        kind: 1,
        byte_fallback: false,
        whitespace_as_suffix: false,
        unknown_surface: " \u{2047} ".to_owned(),
        normalizer: NormalizerSpec::default(),
        denormalizer: None,
    };
    for (field, value) in fields(bytes)? {
        match field {
            1 => file.pieces.push(piece(value.bytes())?),
            2 => training(value.bytes(), &mut file)?,
            3 => file.normalizer = normalizer(value.bytes())?,
            5 => file.denormalizer = Some(normalizer(value.bytes())?).filter(|spec| !spec.charsmap.is_empty()),
            _ => {}
        }
    }
    if file.pieces.is_empty() { Err("no SentencePiece model: it has no pieces".to_owned()) } else { Ok(file) }
}

fn training(message: &[u8], file: &mut File) -> Result<(), String> {
    for (field, value) in fields(message)? {
        match field {
            3 => file.kind = value.number(),
            24 => file.whitespace_as_suffix = value.number() != 0,
            35 => file.byte_fallback = value.number() != 0,
            44 => file.unknown_surface = text(value, "unk_surface")?,
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(message: &[u8]) -> Result<NormalizerSpec, String> {
    let mut spec = NormalizerSpec::default();
    for (field, value) in fields(message)? {
        match field {
            2 => spec.charsmap = value.bytes().to_vec(),
            3 => spec.add_dummy_prefix = value.number() != 0,
            4 => spec.remove_extra_whitespaces = value.number() != 0,
            5 => spec.escape_whitespaces = value.number() != 0,
            _ => {}
        }
    }
    Ok(spec)
}

fn piece(message: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
    for (field, value) in fields(message)? {
        match (field, value) {
            (1, value) => piece.text = text(value, "a piece")?,
            (2, Value::Bits(bits)) => piece.score = f32::from_bits(bits),
            (3, value) => {
                piece.kind = match value.number() {
                    1 => PieceKind::Normal,
                    2 => PieceKind::Unknown,
                    3 => PieceKind::Control,
                    4 => PieceKind::UserDefined,
                    5 => PieceKind::Unused,
                    6 => PieceKind::Byte,
                    other => return Err(format!("piece \"{}\" is of the unknown type {other}", piece.text)),
                }
            }
            _ => {}
        }
    }
    match piece {
        Piece { ref text, .. } if text.is_empty() => Err("a piece is empty".to_owned()),
        Piece { score, ref text, .. } if !score.is_finite() => Err(format!("piece \"{text}\" has the score {score}")),
        piece => Ok(piece),
    }
}

fn text(value: Value<'_>, what: &str) -> Result<String, String> {
    String::from_utf8(value.bytes().to_vec()).map_err(|_| format!("{what} is not UTF-8"))
}

/// A value of a protocol buffer, by its wire type.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bits(u32),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> u64 {
        if let Self::Number(n) = self { n } else { 0 }
    }

    fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }
}

/// The fields of one message: their numbers and values.
fn fields(mut rest: &[u8]) -> Result<Vec<(u64, Value<'_>)>, String> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Bytes(take(&mut rest, 8)?),
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(take(&mut rest, usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => {
                let bytes = take(&mut rest, 4)?;
                Value::Bits(bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte)))
            }
            other => return Err(format!("no SentencePiece model: wire type {other}")),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("no SentencePiece model: a number has no end".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (head, tail) = rest.split_at_checked(length).ok_or("no SentencePiece model: it is cut short")?;
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_errors_not_panics() {
        assert!(parse(&[]).unwrap_err().contains("no pieces"));
        assert!(parse(&[0x0a, 0x05, 1]).unwrap_err().contains("cut short"));
        assert!(parse(&[0xff; 12]).unwrap_err().contains("no end"));
        assert!(parse(b"{\"not\": \"spm\"}").is_err());
        assert!(parse(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        assert!(parse(&[0x0a, 0x00]).unwrap_err().contains("empty"));
        assert!(parse(&[0x0a, 0x05, 0x0a, 1, b'x', 0x18, 9]).unwrap_err().contains("type 9"));
    }
}
