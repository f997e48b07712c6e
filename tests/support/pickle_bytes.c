#include "tests/support/pickle_bytes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void test_pickle_bytes(test_pickle *p, const void *bytes, size_t n)
{
    assert(n <= sizeof p->bytes - p->n);
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

void test_pickle_op(test_pickle *p, int opcode)
{
    test_pickle_bytes(p, &(unsigned char){(unsigned char)opcode}, 1);
}

void test_pickle_int(test_pickle *p, int64_t x)
{
    test_pickle_bytes(p, "\x8a\x08", 2);
    for (int i = 0; i < 8; i++)
        test_pickle_op(p, (int)((uint64_t)x >> 8 * i & 0xff));
}

void test_pickle_text(test_pickle *p, const char *text)
{
    size_t n = strlen(text);
    test_pickle_op(p, 'X');
    for (int i = 0; i < 4; i++)
        test_pickle_op(p, (int)(n >> 8 * i & 0xff));
    test_pickle_bytes(p, text, n);
}

void test_pickle_global(test_pickle *p, const char *lines)
{
    test_pickle_op(p, 'c');
    test_pickle_bytes(p, lines, strlen(lines));
}

void test_pickle_ints(test_pickle *p, int n, const int64_t *x)
{
    test_pickle_op(p, '(');
    for (int i = 0; i < n; i++)
        test_pickle_int(p, x[i]);
    test_pickle_op(p, 't');
}

static void put_empty_dict(test_pickle *p)
{
    test_pickle_global(p, "collections\nOrderedDict\n");
    test_pickle_bytes(p, ")R", 2);
}

void test_pickle_begin(test_pickle *p)
{
    test_pickle_bytes(p, "\x80\x02", 2);
    put_empty_dict(p);
    test_pickle_op(p, '(');
}

void test_pickle_end(test_pickle *p)
{
    test_pickle_bytes(p, "u.", 2);
}

void test_pickle_tensor(test_pickle *p, const char *name, const char *type, const char *key,
                        int64_t storage_count, int64_t offset, int ndim, const int64_t *shape,
                        const int64_t *stride)
{
    char lines[128];
    if (name != NULL)
        test_pickle_text(p, name);
    test_pickle_global(p, "torch._utils\n_rebuild_tensor_v2\n");
    test_pickle_bytes(p, "((", 2);
    test_pickle_text(p, "storage");
    snprintf(lines, sizeof lines, "torch\n%s\n", type);
    test_pickle_global(p, lines);
    test_pickle_text(p, key);
    test_pickle_text(p, "cpu");
    test_pickle_int(p, storage_count);
    test_pickle_bytes(p, "tQ", 2);
    test_pickle_int(p, offset);
    test_pickle_ints(p, ndim, shape);
    test_pickle_ints(p, ndim, stride);
    test_pickle_op(p, 0x89);
    put_empty_dict(p);
    test_pickle_bytes(p, "tR", 2);
}
