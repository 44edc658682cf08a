//! Real, unmodified libraries, in both worlds. The tests are in `tests/`; this library is empty.
