//! The numbers training/reference/make_fixtures.py stored.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::parity_weights::{fixture, values};

/// What the script stored of one case: JSON, and numbers beside it.
pub(crate) struct Reference {
    case: String,
    json: Value,
    numbers: HashMap<String, Tensor>,
}

impl Reference {
    /// The one case of a file in the repository.
    pub(crate) fn load(name: &str) -> Self {
        let (json, numbers) = files(&fixture(""), name);
        Self { case: String::new(), json, numbers }
    }

    /// One case of an architecture's file in the repository.
    pub(crate) fn case(family: &str, case: &str) -> Self {
        let found = Self::cases(&fixture(""), family).into_iter().find(|one| one.case == case);
        found.unwrap_or_else(|| panic!("no {case} in {family}.json"))
    }

    /// Every case of an architecture's file in any folder.
    pub(crate) fn cases(folder: &Path, family: &str) -> Vec<Self> {
        let (json, numbers) = files(folder, family);
        let Value::Object(cases) = json else { panic!("{family}.json holds no cases") };
        let of = |case: &str| {
            let own = |(name, tensor): (&String, &Tensor)| {
                Some((name.strip_prefix(case)?.strip_prefix('/')?.to_owned(), tensor.clone()))
            };
            numbers.iter().filter_map(own).collect()
        };
        cases.into_iter().map(|(case, json)| Self { numbers: of(&case), case, json }).collect()
    }

    /// Its name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.case
    }

    /// The list at a JSON pointer.
    pub(crate) fn list(&self, pointer: &str) -> Vec<u32> {
        self.read(pointer)
    }

    /// What is at a JSON pointer, as any type.
    pub(crate) fn read<T: DeserializeOwned>(&self, pointer: &str) -> T {
        serde_json::from_value(self.at(pointer).clone()).unwrap()
    }

    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in the reference"))
    }

    /// Writes config.json and model.safetensors as the reference's network had them, one tensor in memory at a time.
    pub(crate) fn write_model(&self, dir: &Path) {
        std::fs::write(dir.join("config.json"), self.at("/config").to_string()).unwrap();
        let shapes: BTreeMap<String, Vec<usize>> = self.read("/tensors");
        let louder: BTreeMap<String, Vec<(usize, f32)>> = self.read("/louder");
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, shape) in &shapes {
            let start = end;
            end += 4 * shape.iter().product::<usize>();
            header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
        }
        let mut header = Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = BufWriter::new(File::create(dir.join("model.safetensors")).unwrap());
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        for (name, shape) in &shapes {
            let mut values = values(name, shape);
            let width: usize = shape[1..].iter().product();
            for (row, factor) in louder.get(name).into_iter().flatten() {
                values[row * width..][..width].iter_mut().for_each(|v| *v *= factor);
            }
            values.iter().for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
        }
        file.flush().unwrap();
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

fn files(folder: &Path, name: &str) -> (Value, HashMap<String, Tensor>) {
    let json = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
    let numbers = candle_core::safetensors::load(folder.join(format!("{name}.safetensors")), &Device::Cpu).unwrap();
    (serde_json::from_slice(&json).unwrap(), numbers)
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
