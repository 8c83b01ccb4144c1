//! The numbers training/reference/make_fixtures.py stored.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::parity_weights::{fixture, tensor};

/// What the script stored: a JSON file, and numbers beside it.
pub(crate) struct Reference {
    json: Value,
    numbers: HashMap<String, Tensor>,
}

impl Reference {
    pub(crate) fn load(name: &str) -> Self {
        let json = std::fs::read(fixture(&format!("{name}.json"))).unwrap();
        let numbers = candle_core::safetensors::load(fixture(&format!("{name}.safetensors")), &Device::Cpu).unwrap();
        Self { json: serde_json::from_slice(&json).unwrap(), numbers }
    }

    /// The list at a JSON pointer.
    pub(crate) fn list(&self, pointer: &str) -> Vec<u32> {
        serde_json::from_value(self.at(pointer).clone()).unwrap()
    }

    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in the reference"))
    }

    /// Writes config.json and model.safetensors as the reference's network had them.
    pub(crate) fn write_model(&self, dir: &Path) {
        std::fs::write(dir.join("config.json"), self.at("/config").to_string()).unwrap();
        let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_value(self.at("/tensors").clone()).unwrap();
        let tensors = shapes.iter().map(|(name, shape)| (name.clone(), tensor(name, shape))).collect();
        candle_core::safetensors::save::<String, _>(&tensors, dir.join("model.safetensors")).unwrap();
    }

    /// Largest distance between what was computed and what is stored under `name`.
    pub(crate) fn distance(&self, name: &str, computed: &Tensor) -> f32 {
        let stored = flat(&self.numbers[name]);
        let computed = flat(computed);
        assert_eq!(stored.len(), computed.len(), "{name}");
        assert!(computed.iter().all(|v| v.is_finite()), "{name}");
        stored.iter().zip(&computed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
