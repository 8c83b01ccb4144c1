//! Weights from every kind of file are the same numbers, and damaged files say what is wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, Tensor};
use inference::directory::{ModelDirectory, Weights};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokens").join(name)
}

fn load(dir: &TempDir, dtype: DType) -> Result<Weights, String> {
    let directory = ModelDirectory::open(dir.path()).unwrap();
    directory.weights_as(&Device::Cpu, dtype).map_err(|e| e.to_string())
}

fn with_file(name: &str, content: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), content).unwrap();
    dir
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

#[test]
fn pickled_weights_of_all_kinds_are_read() {
    for name in ["pickle_zip.bin", "pickle_legacy.bin", "pickle_nested.bin"] {
        let dir = with_file("pytorch_model.bin", &std::fs::read(fixture(name)).unwrap());
        let weights = load(&dir, DType::F32).unwrap();
        let get = |tensor: &str, dims: &[usize]| values(&weights.get(tensor, dims).unwrap());
        let counted: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(get("a.weight", &[3, 4]), counted, "{name}");
        assert_eq!(get("a.bias", &[4]), [4.0, 5.0, 6.0, 7.0], "a view with an offset");
        let turned: Vec<f32> = (0..4).flat_map(|column| (0..3).map(move |row| (row * 4 + column) as f32)).collect();
        assert_eq!(get("turned", &[4, 3]), turned, "a view that is not contiguous");
        assert_eq!(get("half", &[2]), [1.5, -2.25]);
        assert_eq!(get("brain", &[2]), [0.5, 3.0]);
        assert_eq!(get("double", &[1]), [0.1]);
        assert_eq!(get("count", &[1]), [7.0]);
        assert_eq!(get("grown", &[1, 1]), [9.0], "a parameter");
        assert_eq!(get("one", &[]), [4.0]);
        assert!(weights.quantized("a.weight", &[3, 4]).unwrap().is_none());
        let error = weights.get("a.bias", &[5]).unwrap_err().to_string();
        assert!(error.contains("a.bias") && error.contains("[4]") && error.contains("[5]"), "{error}");
    }
    let dir = with_file("pytorch_model.bin", &std::fs::read(fixture("pickle_ordered.bin")).unwrap());
    let weights = load(&dir, DType::BF16).unwrap();
    let weight = weights.get("weight", &[1, 2]).unwrap();
    assert_eq!((weight.dtype(), values(&weight)), (DType::BF16, vec![1.0, 2.0]));
}

#[test]
fn pickled_shards_are_found_by_their_index() {
    let dir = with_file("one.bin", &std::fs::read(fixture("pickle_ordered.bin")).unwrap());
    std::fs::copy(fixture("pickle_legacy.bin"), dir.path().join("two.bin")).unwrap();
    let index = r#"{"weight_map": {"weight": "one.bin", "half": "two.bin"}}"#;
    std::fs::write(dir.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let weights = load(&dir, DType::F32).unwrap();
    assert_eq!(values(&weights.get("bias", &[1]).unwrap()), [3.0]);
    assert_eq!(values(&weights.get("half", &[2]).unwrap()), [1.5, -2.25]);
    std::fs::remove_file(dir.path().join("two.bin")).unwrap();
    assert!(load(&dir, DType::F32).unwrap_err().contains("two.bin"));
}

#[test]
fn safetensors_win_and_change_their_type_on_the_way() {
    let dir = with_file("pytorch_model.bin", b"junk");
    let halves = Tensor::new(&[1.0_f32, 2.5], &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
    let tensors = std::collections::HashMap::from([("half", halves)]);
    candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors")).unwrap();
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let half = load(&dir, dtype).unwrap().get("half", &[2]).unwrap();
        assert_eq!((half.dtype(), values(&half)), (dtype, vec![1.0, 2.5]));
    }
}

/// A GGUF file under llama.cpp's names: blocks of 8 bits, and a norm in full.
fn gguf() -> (TempDir, Tensor) {
    let dir = tempfile::tempdir().unwrap();
    let matrix = Tensor::arange(0_f32, 128.0, &Device::Cpu).unwrap().reshape((2, 64)).unwrap();
    let quantized = QTensor::quantize(&matrix, GgmlDType::Q8_0).unwrap();
    let norm = QTensor::quantize(&Tensor::ones(64, DType::F32, &Device::Cpu).unwrap(), GgmlDType::F32).unwrap();
    let mut file = File::create(dir.path().join("model-q8_0.gguf")).unwrap();
    let tensors = [("enc.blk.0.attn_q.weight", &quantized), ("encoder.final_layer_norm.weight", &norm)];
    gguf_file::write(&mut file, &[], &tensors).unwrap();
    (dir, matrix)
}

#[test]
fn gguf_tensors_are_expanded_or_kept_in_their_blocks() {
    let (dir, matrix) = gguf();
    let weights = load(&dir, DType::F16).unwrap();
    let name = "encoder.block.0.layer.0.SelfAttention.q.weight";
    let expanded = weights.get(name, &[2, 64]).unwrap();
    assert_eq!(expanded.dtype(), DType::F16);
    // A block of 8 bits is off by at most half a step: its largest value / 127 / 2.
    let off = values(&expanded).iter().zip(values(&matrix)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 127.0 / 127.0 / 2.0 + 0.07, "{off}");
    let kept = weights.quantized(name, &[2, 64]).unwrap().unwrap();
    assert_eq!((kept.dtype(), kept.shape().dims()), (GgmlDType::Q8_0, &[2, 64][..]));
    assert!(weights.quantized(name, &[64, 2]).is_err());
    assert!(weights.quantized("encoder.final_layer_norm.weight", &[64]).unwrap().is_none());
    assert!(weights.quantized("missing", &[1]).unwrap().is_none());
    assert_eq!(values(&weights.get("encoder.final_layer_norm.weight", &[64]).unwrap()), [1.0; 64]);

    std::fs::copy(dir.path().join("model-q8_0.gguf"), dir.path().join("other.gguf")).unwrap();
    assert!(load(&dir, DType::F32).unwrap_err().contains("several *.gguf"));
}

/// Cuts a file at many places, and turns each of its bytes, first in its head: loading and reading must not panic.
fn mistreat(name: &str, whole: &[u8], step: usize) {
    let cuts = (0..whole.len()).step_by(step);
    for cut in cuts {
        let dir = with_file(name, &whole[..cut]);
        let error = load(&dir, DType::F32).unwrap_err();
        assert!(error.contains(name), "{cut}: {error}");
    }
    let mut refused = 0;
    for at in (0..whole.len()).step_by(step) {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0xff;
        match load(&with_file(name, &damaged), DType::F32) {
            Err(error) => {
                assert!(error.contains(name), "{at}: {error}");
                refused += 1;
            }
            Ok(weights) => {
                let read = weights.get("a.weight", &[3, 4]);
                assert!(read.is_ok() || read.unwrap_err().to_string().contains("a.weight"));
            }
        }
    }
    assert!(refused > 0, "{name}");
}

#[test]
fn damaged_files_are_errors_not_panics() {
    for name in ["pickle_zip.bin", "pickle_legacy.bin"] {
        mistreat("pytorch_model.bin", &std::fs::read(fixture(name)).unwrap(), 7);
    }
    let (dir, matrix) = gguf();
    mistreat("x.gguf", &std::fs::read(dir.path().join("model-q8_0.gguf")).unwrap(), 3);
    let file = dir.path().join("model.safetensors");
    candle_core::safetensors::save(&std::collections::HashMap::from([("a.weight", matrix)]), &file).unwrap();
    mistreat("model.safetensors", &std::fs::read(file).unwrap(), 3);
}
