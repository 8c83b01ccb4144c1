//! Tensors on a CPU as slices, for our kernels.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor, bail};

/// Lends the values of a contiguous 32-bit tensor on the CPU.
pub(crate) fn read<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        bail!("our kernels need a contiguous f32 tensor on the CPU, not {:?} {:?}", tensor.dtype(), layout)
    };
    Ok(work(&values[start..end]))
}

/// As [`read`], of a tensor that need not be there.
pub(crate) fn read_any<R>(tensor: Option<&Tensor>, work: impl FnOnce(Option<&[f32]>) -> R) -> Result<R> {
    match tensor {
        Some(tensor) => read(tensor, |values| work(Some(values))),
        None => Ok(work(None)),
    }
}

/// A matrix on the CPU.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

/// The values of any tensor, copied.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()
}
