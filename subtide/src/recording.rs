//! Sound files to the PCM that a client sends.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use shared::wire::{AudioFormat, Encoding};
use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error as SoundError,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::{MediaSource, MediaSourceStream},
    meta::MetadataOptions,
};

/// Sample rates the gateway takes.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;
/// Writers to a pipe cannot know the length and write the largest; no real recording has so many samples.
const UNKNOWN_LENGTH: u64 = 0x3fff_ff00;

/// Why a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened.
    #[error("{path} cannot be opened: {source}")]
    Open {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a sound file that can be read.
    #[error("{path} is no sound file that can be read ({reason}); wav, flac, mp3 and ogg (Vorbis) can")]
    Format {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A rate the gateway does not take.
    #[error("{path} has {rate} samples a second; 8000 to 48000 can be used: convert it, e.g. `sox IN -r 48000 OUT`")]
    Rate {
        /// File.
        path: PathBuf,
        /// Its rate.
        rate: u32,
    },
    /// The file ends before its header says, or is broken further on. What came before was delivered.
    #[error("{path} is cut short: {found:.1?} of {promised} could be read ({reason}); that much was captioned")]
    Truncated {
        /// File.
        path: PathBuf,
        /// What was there.
        found: Duration,
        /// What the header promised, for people.
        promised: String,
        /// Why no more.
        reason: String,
    },
}

/// An open sound file, decoded piece by piece.
pub struct Recording {
    path: PathBuf,
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    rate: u32,
    channels: u8,
    /// Samples a channel that the header promises.
    promised: Option<u64>,
    found: u64,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("path", &self.path).field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Recording {
    /// Opens `path`; `-` is standard input. Blocks.
    ///
    /// # Errors
    /// When it is not there or no sound file.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        let source: Box<dyn MediaSource> = if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
            Box::new(Cursor::new(bytes))
        } else {
            Box::new(File::open(path).map_err(failed)?)
        };
        Self::of(path, source)
    }

    /// Reads `source`, which is called `path`: what the name ends in is a hint at its format.
    ///
    /// # Errors
    /// When it is no sound file.
    pub fn of(path: &Path, source: Box<dyn MediaSource>) -> Result<Self, RecordingError> {
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(extension);
        }
        let unusable = |reason: String| RecordingError::Format { path: path.to_owned(), reason };
        let stream = MediaSourceStream::new(source, symphonia::core::io::MediaSourceStreamOptions::default());
        let (format, meta) = (FormatOptions::default(), MetadataOptions::default());
        let reader = symphonia::default::get_probe().probe(&hint, stream, format, meta);
        let reader = reader.map_err(|e| unusable(e.to_string()))?;
        let track =
            reader.default_track(TrackType::Audio).ok_or_else(|| unusable("it has no sound track".to_owned()))?;
        let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
        let parameters = parameters.ok_or_else(|| unusable("its codec is not known".to_owned()))?;
        let rate = parameters.sample_rate.ok_or_else(|| unusable("its sample rate is not known".to_owned()))?;
        if !RATES.contains(&rate) {
            return Err(RecordingError::Rate { path: path.to_owned(), rate });
        }
        let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default());
        let decoder = decoder.map_err(|e| unusable(e.to_string()))?;
        let promised = track.num_frames.filter(|frames| *frames < UNKNOWN_LENGTH);
        Ok(Self { path: path.to_owned(), track: track.id, rate, channels: 1, promised, found: 0, decoder, reader })
    }

    /// Leaves the two channels of a stereo file as they are, for the gateway to mix.
    #[must_use]
    pub fn with_both_channels(self) -> Self {
        let stereo = self.decoder.codec_params().channels.as_ref().is_some_and(|channels| channels.count() == 2);
        Self { channels: if stereo { 2 } else { 1 }, ..self }
    }

    /// How the pieces are laid out: s16le, mono (more channels are mixed down) unless both channels were asked for.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        AudioFormat { encoding: Encoding::PcmS16le, sample_rate: self.rate, channels: self.channels }
    }

    /// The next piece; `None` at the end. Blocks.
    ///
    /// # Errors
    /// [`RecordingError::Truncated`] when the file ends early; every piece before it is good.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.finish(None),
                Err(error) => return self.finish(Some(&error)),
            };
            if packet.track_id != self.track {
                continue;
            }
            let mut samples: Vec<f32> = Vec::new();
            let channels = match self.decoder.decode(&packet) {
                Ok(decoded) => {
                    decoded.copy_to_vec_interleaved(&mut samples);
                    decoded.spec().channels().count().max(1)
                }
                Err(SoundError::DecodeError(reason)) => {
                    tracing::warn!(path = %self.path.display(), reason, "a broken packet is left out");
                    continue;
                }
                Err(error) => return self.finish(Some(&error)),
            };
            if samples.is_empty() {
                continue;
            }
            self.found += (samples.len() / channels) as u64;
            if channels != usize::from(self.channels) {
                samples = samples.chunks(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect();
            }
            return Ok(Some(shared::audio::f32_to_s16le(&samples)));
        }
    }

    fn finish(&self, error: Option<&SoundError>) -> Result<Option<Vec<u8>>, RecordingError> {
        let seconds = |frames: u64| Duration::from_secs_f64(frames as f64 / f64::from(self.rate));
        let short = self.promised.filter(|promised| *promised > self.found);
        if short.is_none() && error.is_none() {
            return Ok(None);
        }
        let promised =
            short.map_or_else(|| "a recording of unknown length".to_owned(), |p| format!("{:.1?}", seconds(p)));
        let reason = error.map_or_else(|| "the file ends there".to_owned(), ToString::to_string);
        Err(RecordingError::Truncated { path: self.path.clone(), found: seconds(self.found), promised, reason })
    }
}
