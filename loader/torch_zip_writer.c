#include "loader/torch_zip_writer.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "loader/little_endian.h"
#include "loader/pickle_opcodes.h"
#include "loader/zip_writer.h"

enum {
    PIECE_ELEMENTS = 1 << 20,
    ROOT_BYTES = 128,
    RECORD_BYTES = 1024, /* room for the opcodes of one tensor without its name */
};

/* The memo's entries. */
enum {
    MEMO_DICT,
    MEMO_TENSOR,
    MEMO_FLOAT,
    MEMO_BFLOAT16,
    MEMO_ENTRIES,
};

static const char *const memo_globals[MEMO_ENTRIES] = {
    "collections\nOrderedDict\n",
    "torch._utils\n_rebuild_tensor_v2\n",
    "torch\nFloatStorage\n",
    "torch\nBFloat16Storage\n",
};

/* ---- opcodes into a buffer ---- */

typedef struct pickle_writer {
    unsigned char bytes[RECORD_BYTES];
    size_t n;
    bool remembered[MEMO_ENTRIES];
} pickle_writer;

static void put(pickle_writer *w, int opcode)
{
    assert(w->n < RECORD_BYTES);
    w->bytes[w->n++] = (unsigned char)opcode;
}

static void put_bytes(pickle_writer *w, const void *data, size_t n)
{
    assert(n <= RECORD_BYTES - w->n);
    memcpy(w->bytes + w->n, data, n);
    w->n += n;
}

static void put_text(pickle_writer *w, const char *text)
{
    unsigned char length[4];
    sa2_put_le32(length, (uint32_t)strlen(text));
    put(w, SA2_PICKLE_OP_BINUNICODE);
    put_bytes(w, length, sizeof length);
    put_bytes(w, text, strlen(text));
}

/* The first time the global itself, from then on where it was remembered. */
static void put_global(pickle_writer *w, int memo)
{
    if (!w->remembered[memo]) {
        put(w, SA2_PICKLE_OP_GLOBAL);
        put_bytes(w, memo_globals[memo], strlen(memo_globals[memo]));
    }
    put(w, w->remembered[memo] ? SA2_PICKLE_OP_BINGET : SA2_PICKLE_OP_BINPUT);
    put(w, memo);
    w->remembered[memo] = true;
}

static void put_int(pickle_writer *w, int64_t x)
{
    unsigned char bytes[8];
    if (x <= INT32_MAX) {
        put(w, SA2_PICKLE_OP_BININT);
        sa2_put_le32(bytes, (uint32_t)x);
        put_bytes(w, bytes, 4);
        return;
    }
    put(w, SA2_PICKLE_OP_LONG1);
    put(w, 8);
    sa2_put_le64(bytes, (uint64_t)x);
    put_bytes(w, bytes, 8);
}

static void put_ints(pickle_writer *w, const int64_t *x, int n)
{
    put(w, SA2_PICKLE_OP_MARK);
    for (int i = 0; i < n; i++)
        put_int(w, x[i]);
    put(w, SA2_PICKLE_OP_TUPLE);
}

static void put_empty_dict(pickle_writer *w)
{
    put_global(w, MEMO_DICT);
    put(w, SA2_PICKLE_OP_EMPTY_TUPLE);
    put(w, SA2_PICKLE_OP_REDUCE);
}

/* _rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()) */
static void put_tensor(pickle_writer *w, const sa2_tensor *t, const char *key)
{
    int64_t stride[SA2_MAX_DIMS];
    int64_t count = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        stride[d] = count;
        count *= t->shape[d];
    }
    put_global(w, MEMO_TENSOR);
    put(w, SA2_PICKLE_OP_MARK);
    put(w, SA2_PICKLE_OP_MARK);
    put_text(w, "storage");
    put_global(w, t->dtype == SA2_BF16 ? MEMO_BFLOAT16 : MEMO_FLOAT);
    put_text(w, key);
    put_text(w, "cpu");
    put_int(w, count);
    put(w, SA2_PICKLE_OP_TUPLE);
    put(w, SA2_PICKLE_OP_BINPERSID);
    put_int(w, 0);
    put_ints(w, t->shape, t->ndim);
    put_ints(w, stride, t->ndim);
    put(w, SA2_PICKLE_OP_NEWFALSE);
    put_empty_dict(w);
    put(w, SA2_PICKLE_OP_TUPLE);
    put(w, SA2_PICKLE_OP_REDUCE);
}

static sa2_status flush(pickle_writer *w, sa2_zip_writer *zip, sa2_error *err)
{
    sa2_status st = sa2_zip_writer_append(zip, w->bytes, w->n, err);
    w->n = 0;
    return st;
}

/* ---- entries ---- */

static sa2_status write_pickle(sa2_zip_writer *zip, const sa2_tensor_map *map, sa2_error *err)
{
    pickle_writer w = {0};
    put(&w, SA2_PICKLE_OP_PROTO);
    put(&w, 2);
    put_empty_dict(&w);
    put(&w, SA2_PICKLE_OP_MARK);
    sa2_status st = flush(&w, zip, err);
    for (int i = 0; i < sa2_tensor_map_count(map) && st == SA2_OK; i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        put_text(&w, entry->name);
        st = flush(&w, zip, err);
        put_tensor(&w, &entry->tensor, key);
        if (st == SA2_OK)
            st = flush(&w, zip, err);
    }
    put(&w, SA2_PICKLE_OP_SETITEMS);
    put(&w, SA2_PICKLE_OP_STOP);
    return st == SA2_OK ? flush(&w, zip, err) : st;
}

static sa2_status write_values(sa2_zip_writer *zip, const sa2_tensor_map *map, int i, void *piece,
                               sa2_write_progress progress, sa2_error *err)
{
    const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
    int64_t count = sa2_tensor_count(&entry->tensor);
    size_t width = sa2_dtype_bytes(entry->tensor.dtype);
    for (int64_t done = 0; done < count;) {
        int64_t n = count - done < PIECE_ELEMENTS ? count - done : PIECE_ELEMENTS;
        sa2_status st = sa2_tensor_map_read(map, entry, done, n, piece, err);
        if (st == SA2_OK)
            st = sa2_zip_writer_append(zip, piece, (size_t)n * width, err);
        if (st != SA2_OK)
            return st;
        if (progress.call != NULL)
            progress.call(progress.context, n * (int64_t)width);
        done += n;
    }
    return SA2_OK;
}

static sa2_status begin(sa2_zip_writer *zip, const char *root, const char *file, sa2_error *err)
{
    char name[ROOT_BYTES + 64];
    snprintf(name, sizeof name, "%s/%s", root, file);
    return sa2_zip_writer_begin(zip, name, err);
}

static sa2_status write_text(sa2_zip_writer *zip, const char *root, const char *file,
                             const char *text, sa2_error *err)
{
    sa2_status st = begin(zip, root, file, err);
    return st == SA2_OK ? sa2_zip_writer_append(zip, text, strlen(text), err) : st;
}

static sa2_status write_all(sa2_zip_writer *zip, const char *root, const sa2_tensor_map *map,
                            sa2_write_progress progress, sa2_error *err)
{
    void *piece = malloc(PIECE_ELEMENTS * sizeof(float));
    if (piece == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for values", zip->file.path);
    sa2_status st = begin(zip, root, "data.pkl", err);
    if (st == SA2_OK)
        st = write_pickle(zip, map, err);
    if (st == SA2_OK)
        st = write_text(zip, root, "byteorder", "little", err);
    for (int i = 0; i < sa2_tensor_map_count(map) && st == SA2_OK; i++) {
        char file[32];
        snprintf(file, sizeof file, "data/%d", i);
        st = begin(zip, root, file, err);
        if (st == SA2_OK)
            st = write_values(zip, map, i, piece, progress, err);
    }
    if (st == SA2_OK)
        st = write_text(zip, root, "version", "3\n", err);
    free(piece);
    return st;
}

/* "flow" of ".../flow.pt". */
static void root_of(const char *path, char root[ROOT_BYTES])
{
    const char *slash = strrchr(path, '/');
    snprintf(root, ROOT_BYTES, "%s", slash != NULL ? slash + 1 : path);
    char *dot = strrchr(root, '.');
    if (dot != NULL && dot != root)
        *dot = '\0';
}

sa2_status sa2_torch_zip_write(const char *path, const sa2_tensor_map *map,
                               sa2_write_progress progress, sa2_error *err)
{
    char root[ROOT_BYTES];
    sa2_zip_writer zip;
    for (int i = 0; i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
        if (entry->tensor.dtype != SA2_F32 && entry->tensor.dtype != SA2_BF16)
            return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s: %s is %s, f32 or bf16 can be written",
                            path, entry->name, sa2_dtype_name(entry->tensor.dtype));
    }
    root_of(path, root);
    sa2_status st = sa2_zip_writer_create(&zip, path, err);
    if (st == SA2_OK)
        st = write_all(&zip, root, map, progress, err);
    if (st == SA2_OK)
        st = sa2_zip_writer_finish(&zip, err);
    sa2_zip_writer_destroy(&zip);
    return st;
}
