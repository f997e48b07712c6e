/* native_bytes.h - a small native file with a block of every kind, and a way to change one and keep it plausible.
 */
#ifndef SA2_TESTS_SUPPORT_NATIVE_BYTES_H
#define SA2_TESTS_SUPPORT_NATIVE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

/* Writes it for the CPU backend: part "model" with tensors "vector", "matrix", "gate", "up" and "taps", part "flow"
 * with "table", a file "a.txt", one source. False when that fails. */
bool test_native_write(const char *path);

/* Gives header and index the checksums that they should have, wherever they are now. */
void test_native_seal(unsigned char *bytes, size_t n);

#endif
