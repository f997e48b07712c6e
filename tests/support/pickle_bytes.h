/* pickle_bytes.h - pickles for tests, opcode by opcode.
 */
#ifndef SA2_TESTS_SUPPORT_PICKLE_BYTES_H
#define SA2_TESTS_SUPPORT_PICKLE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise it. */
typedef struct test_pickle {
    unsigned char bytes[1 << 20];
    size_t n;
} test_pickle;

void test_pickle_op(test_pickle *p, int opcode);
void test_pickle_bytes(test_pickle *p, const void *bytes, size_t n);
void test_pickle_int(test_pickle *p, int64_t x);                /* LONG1, 8 bytes */
void test_pickle_text(test_pickle *p, const char *text);        /* BINUNICODE */
void test_pickle_global(test_pickle *p, const char *lines);     /* "torch\nFloatStorage\n" */
void test_pickle_ints(test_pickle *p, int n, const int64_t *x); /* a tuple */

/* PROTO 2, an OrderedDict and a mark; then items; then SETITEMS and STOP. */
void test_pickle_begin(test_pickle *p);
void test_pickle_end(test_pickle *p);

/* The item name: _rebuild_tensor_v2 of a storage "torch\n<type>\n". Without a name: the value only. */
void test_pickle_tensor(test_pickle *p, const char *name, const char *type, const char *key,
                        int64_t storage_count, int64_t offset, int ndim, const int64_t *shape,
                        const int64_t *stride);

#endif
