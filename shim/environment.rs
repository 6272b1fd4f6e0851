//! What the tool has put into the environment for the shim is taken out again, in place: the program
//! and its children see what the user has set.

use core::ffi::{c_char, c_int};
use core::ptr;

use crate::wire::VARIABLE;

const PRELOAD: &[u8] = b"LD_PRELOAD";

unsafe extern "C" {
    /// libc's; a list of texts that ends with null.
    static environ: *mut *mut c_char;
}

/// The number of the control socket, and the environment without a trace of us. None, and nothing
/// is changed, where the tool has not started this program.
///
/// # Safety
/// No other thread runs yet. `handed` is null, or the environment as the loader has handed it over.
pub unsafe fn take(handed: *mut *mut c_char) -> Option<c_int> {
    // SAFETY: libc's variable.
    let list = unsafe { environ };
    // Libraries that do not name libc may be initialised before it.
    let list = if list.is_null() { handed } else { list };
    // SAFETY: the environment, which nobody else changes now.
    unsafe {
        let value = remove(list, VARIABLE)?;
        remove_first_preload(list);
        number(value)
    }
}

/// Where the variable's entry is, and its value.
unsafe fn find(list: *mut *mut c_char, name: &[u8]) -> Option<(*mut *mut c_char, *mut u8)> {
    let mut entry = list;
    if entry.is_null() {
        return None;
    }
    // SAFETY: the list ends with null, each text with a 0.
    unsafe {
        while !(*entry).is_null() {
            let text: *mut u8 = (*entry).cast();
            // Stops at the first byte that differs, so not behind the text's end.
            let same = name.iter().enumerate().all(|(at, byte)| *text.add(at) == *byte);
            if same && *text.add(name.len()) == b'=' {
                return Some((entry, text.add(name.len()).add(1)));
            }
            entry = entry.add(1);
        }
    }
    None
}

unsafe fn remove(list: *mut *mut c_char, name: &[u8]) -> Option<*const u8> {
    // SAFETY: the list ends with null.
    unsafe {
        let (entry, value) = find(list, name)?;
        let mut entry = entry;
        while !(*entry).is_null() {
            *entry = *entry.add(1);
            entry = entry.add(1);
        }
        Some(value)
    }
}

/// Takes the first library out, which is the shim. What the user has behind it stays as it is.
unsafe fn remove_first_preload(list: *mut *mut c_char) {
    // SAFETY: the text ends with a 0, and gets shorter.
    unsafe {
        let Some((_, value)) = find(list, PRELOAD) else { return };
        let mut rest = value;
        while !matches!(*rest, 0 | b':' | b' ') {
            rest = rest.add(1);
        }
        if *rest != 0 {
            rest = rest.add(1);
        }
        if *rest == 0 {
            remove(list, PRELOAD);
            return;
        }
        let mut end = rest;
        while *end != 0 {
            end = end.add(1);
        }
        let length = end.offset_from(rest) as usize;
        ptr::copy(rest, value, length);
        // To the old end: the text's memory can be read from outside.
        let gone = rest.offset_from(value) as usize;
        ptr::write_bytes(value.add(length), 0, gone);
    }
}

unsafe fn number(text: *const u8) -> Option<c_int> {
    let (mut text, mut number) = (text, 0_i32);
    // SAFETY: the text ends with a 0.
    unsafe {
        if *text == 0 {
            return None;
        }
        while *text != 0 {
            let digit = (*text).wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number.checked_mul(10)?.checked_add(c_int::from(digit))?;
            text = text.add(1);
        }
    }
    Some(number)
}
