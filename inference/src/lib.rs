//! Speech and translation models on candle: the only room that knows tensors, weights and tokenizers.
//!
//! What the workers use:
//! - [`speech`]: audio in, text out (Whisper architecture); [`translation`]: text in, text out
//! - [`model_thread`]: a model owns an OS thread; requests join and leave its batch between two steps
//! - [`compute`], [`device`]: how and where a model computes; [`error`]: what can go wrong, with the path, key or tensor
//!   at fault
//!
//! What they are made of, in the order data flows:
//! - [`directory`]: a model directory in the Hugging Face layout: JSON files, weights (safetensors, pickles, GGUF)
//! - [`mel`]: samples to log-mel frames; [`sentencepiece`]: text to pieces and back by `.spm` files
//! - [`whisper_vocabulary`]: `tokenizer.json` or a tiktoken file; [`language`]: what each model family calls a language
//! - [`whisper`], [`marian`], [`m2m100`], [`t5`]: configuration, weights and encoder of each architecture;
//!   [`text_network`]: what those that translate have in common
//! - [`decoder`]: the decoder all share: key/value caches, rows of unequal length that come and go
//! - [`decode`]: the decoding loop and its choices; [`alignment`]: when each word was said
//! - [`measure`]: how fast all that is on a machine
//!
//! The arithmetic on a CPU is in the crate `kernels`; on other devices it is candle's.
//!
//! Absent on purpose: sockets, Redis, sessions, the streaming policy. No type of candle's is in the workers' part.

pub mod alignment;
pub mod compute;
pub mod decode;
pub mod decoder;
pub mod device;
pub mod directory;
pub mod error;
pub mod language;
pub mod m2m100;
pub mod marian;
pub mod measure;
pub mod mel;
pub mod model_thread;
pub mod sentencepiece;
pub mod speech;
pub mod t5;
pub mod text_network;
pub mod translation;
pub mod whisper;
pub mod whisper_vocabulary;

mod layers;
