//! How bytes come from the host. It asks for room for every value that it returns; a short value that is
//! read at once gets a place that is always there, everything else a block that becomes ours.

use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

use super::OK;

/// An address, a route's or a plugin's name, most paths.
const SCRATCH_BYTES: usize = 128;

unsafe extern "C" {
    fn proxy_on_memory_allocate(size: usize) -> *mut u8;
}

/// Where the host puts a short value that is read at once, in place of a block made for it.
struct Scratch {
    block: UnsafeCell<[u8; SCRATCH_BYTES]>,
    /// The next value may be put here.
    lent: Cell<bool>,
}

thread_local! {
    static SCRATCH: Scratch = const {
        Scratch { block: UnsafeCell::new([0; SCRATCH_BYTES]), lent: Cell::new(false) }
    };
}

/// What a host call that returns bytes returned, as ours to keep.
pub fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (value, size) = called(call)?;
    // SAFETY: no scratch is lent, so the allocator gave the block out for exactly these bytes.
    Some(unsafe { owned(value, size) })
}

/// As [`received`], to be read at once: what is short costs no allocation.
pub fn read_in_place<R>(
    call: impl FnOnce(*mut *mut u8, *mut usize) -> u32,
    read: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    SCRATCH.with(|scratch| {
        scratch.lent.set(true);
        let called = called(call);
        scratch.lent.set(false);
        let (value, size) = called?;
        let block: *mut u8 = scratch.block.get().cast();
        if value == block {
            // SAFETY: the scratch is long enough, initialised, and untouched until the next host call.
            return Some(read(unsafe { std::slice::from_raw_parts(value, size) }));
        }
        // SAFETY: the scratch was too short, so the allocator gave the block out for these bytes.
        Some(read(&unsafe { owned(value, size) }))
    })
}

fn called(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<(*mut u8, usize)> {
    let mut value: *mut u8 = null_mut();
    let mut size: usize = 0;
    (call(&raw mut value, &raw mut size) == OK).then_some((value, size))
}

/// # Safety
/// `value` must be null or a block of `size` bytes that `proxy_on_memory_allocate` made.
unsafe fn owned(value: *mut u8, size: usize) -> Vec<u8> {
    if value.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller says so, and it makes boxed slices.
    unsafe { Vec::from_raw_parts(value, size, size) }
}

/// Asked by the host for room for every value that it returns.
#[unsafe(no_mangle)]
extern "C" fn portcullis_on_memory_allocate(size: usize) -> *mut u8 {
    SCRATCH.with(|scratch| {
        if scratch.lent.replace(false) && size <= SCRATCH_BYTES {
            return scratch.block.get().cast();
        }
        // SAFETY: plain numbers; this is the SDK's own, which makes a boxed slice.
        unsafe { proxy_on_memory_allocate(size) }
    })
}
