#include "loader/pack.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/base/limits.h"
#include "loader/little_endian.h"
#include "loader/mapped_file.h"
#include "loader/name_table.h"
#include "loader/pack_format.h"
#include "loader/xxh3.h"

static const uint64_t most_elements = (uint64_t)1 << 48; /* of a block: products fit, padded too */

struct sa2_pack {
    sa2_mapped_file file; /* empty when the bytes are the caller's */
    const unsigned char *bytes;
    uint64_t n_bytes, index_at, index_bytes;
    char *path;
    sa2_pack_block *blocks;
    sa2_pack_tensor *tensors;
    sa2_pack_source *sources;
    int n_blocks, n_tensors, n_sources;
    const char *texts; /* in the file */
    uint32_t text_bytes;
    sa2_name_table names; /* of blocks */
    atomic_int owners;
};

/* ---- header ---- */

static sa2_status damaged(const sa2_pack *p, sa2_error *err, const char *what)
{
    return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s", p->path, what);
}

static sa2_status other_version(const sa2_pack *p, uint32_t version, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                    "%s: native files of version %d expected, version %" PRIu32
                    " found; make it again: sa2 convert FOLDER %s",
                    p->path, SA2_PACK_VERSION, version, p->path);
}

static sa2_status read_header(sa2_pack *p, sa2_error *err)
{
    const unsigned char *h = p->bytes;
    if (p->n_bytes < SA2_PACK_HEADER_BYTES || memcmp(h, sa2_pack_magic, sizeof sa2_pack_magic) != 0)
        return damaged(p, err, "no native file, or one that was never finished");
    if (sa2_le32(h + 8) != SA2_PACK_VERSION)
        return other_version(p, sa2_le32(h + 8), err);
    if (sa2_le64(h + 56) != XXH3_64bits(h, 56) || sa2_le32(h + 12) != SA2_PACK_HEADER_BYTES)
        return damaged(p, err, "the header was changed after it was written");
    if (sa2_le64(h + 16) != p->n_bytes)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%s: %" PRIu64 " bytes expected, %" PRIu64 " found: cut short, or longer",
                        p->path, sa2_le64(h + 16), p->n_bytes);
    p->index_at = sa2_le64(h + 24);
    p->index_bytes = sa2_le64(h + 32);
    if (p->index_at < SA2_PACK_FIRST_BLOCK || p->index_at > p->n_bytes ||
        p->index_bytes != p->n_bytes - p->index_at || p->index_bytes < SA2_PACK_INDEX_HEAD_BYTES)
        return damaged(p, err, "the index does not lie in the file");
    if (sa2_le64(h + 40) != XXH3_64bits(p->bytes + p->index_at, (size_t)p->index_bytes))
        return damaged(p, err, "the index was changed after it was written");
    return SA2_OK;
}

/* ---- index ---- */

/* The text at an offset; NULL when there is none. Texts end with a 0, the last one too. */
static const char *text_at(const sa2_pack *p, uint32_t offset)
{
    if (offset >= p->text_bytes)
        return NULL;
    const char *text = p->texts + offset;
    size_t n = strlen(text);
    return n >= 1 && n <= SA2_LIMIT_TENSOR_NAME_BYTES ? text : NULL;
}

static sa2_status read_dtype(const sa2_pack *p, uint32_t offset, sa2_dtype *dtype, sa2_error *err)
{
    static const sa2_dtype known[] = {SA2_F32, SA2_BF16, SA2_U8, SA2_I8, SA2_I4, SA2_E4M3};
    const char *name = text_at(p, offset);
    if (name == NULL)
        return damaged(p, err, "index: a dtype without a name");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(sa2_dtype_name(known[i]), name) == 0) {
            *dtype = known[i];
            return SA2_OK;
        }
    return sa2_fail(
        err, SA2_ERR_UNSUPPORTED,
        "%s: values of dtype %.40s, this build has f32, bf16, i8, i4 and e4m3; make it again: "
        "sa2 convert FOLDER %s",
        p->path, name, p->path);
}

/* Dimensions that are sound on their own; what is behind ndim must be 0. */
static bool read_shape(const unsigned char *record, uint32_t ndim, int64_t *shape)
{
    uint64_t elements = 1;
    if (ndim < 1 || ndim > SA2_MAX_DIMS)
        return false;
    for (uint32_t i = 0; i < SA2_MAX_DIMS; i++) {
        uint64_t n = sa2_le64(record + (size_t)8 * i);
        if (i >= ndim ? n != 0 : n < 1 || n > most_elements / elements)
            return false;
        elements *= n > 0 ? n : 1;
        shape[i] = (int64_t)n;
    }
    return true;
}

static int64_t count_of(int ndim, const int64_t *shape)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    return n;
}

/* `*end` is where the block before it ends, and then where this one does. */
static sa2_status read_block(sa2_pack *p, int i, const unsigned char *record, uint64_t *end,
                             sa2_error *err)
{
    sa2_pack_block block = {.name = text_at(p, sa2_le32(record)),
                            .layout = text_at(p, sa2_le32(record + 8)),
                            .ndim = (int)sa2_le32(record + 12),
                            .bytes = sa2_le64(record + 56),
                            .hash = sa2_le64(record + 64)};
    uint64_t offset = sa2_le64(record + 48);
    if (block.name == NULL || block.layout == NULL)
        return damaged(p, err, "index: a block without name or layout");
    sa2_status st = read_dtype(p, sa2_le32(record + 4), &block.dtype, err);
    if (st != SA2_OK)
        return st;
    if (!read_shape(record + 16, sa2_le32(record + 12), block.shape))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s: dimensions that no weight has", p->path,
                        block.name);
    bool rows = strcmp(block.layout, SA2_PACK_ROWS) == 0;
    uint64_t bytes =
        (uint64_t)count_of(block.ndim, block.shape) * (uint64_t)sa2_dtype_bytes(block.dtype);
    if (block.dtype == SA2_I4)
        bytes /= 2;
    if (rows ? block.bytes != bytes : block.ndim != 2 || block.bytes < bytes)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%s: %s: %" PRIu64 " bytes expected, %" PRIu64 " found", p->path,
                        block.name, bytes, block.bytes);
    if (block.bytes > p->index_at || offset != sa2_pack_place(*end, block.bytes) ||
        offset > p->index_at - block.bytes)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s does not lie behind the block before it",
                        p->path, block.name);
    if (sa2_name_table_find(&p->names, block.name) >= 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s is there twice", p->path, block.name);
    block.data = p->bytes + offset;
    p->blocks[i] = block;
    *end = offset + block.bytes;
    return sa2_name_table_put(&p->names, block.name, i)
               ? SA2_OK
               : sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for its index", p->path);
}

/* "model/a" and "model/b". */
static bool same_part(const char *a, const char *b)
{
    const char *slash = strchr(a, '/');
    return slash != NULL && strncmp(a, b, (size_t)(slash - a) + 1) == 0;
}

/* Do the tensor's elements lie in its block as the form says? */
static bool lies_in(const sa2_pack_tensor *t, const sa2_pack_block *block)
{
    int64_t rows = block->shape[0], cols = count_of(block->ndim, block->shape) / rows;
    int64_t count = count_of(t->ndim, t->shape);
    bool plain = strcmp(block->layout, SA2_PACK_ROWS) == 0;
    bool floats = block->dtype == SA2_F32 || block->dtype == SA2_BF16 ||
                  (sa2_dtype_is_rounded(block->dtype) && !plain);
    if (!same_part(t->name, block->name) || !floats ||
        (t->dtype == SA2_F32 && block->dtype == SA2_BF16))
        return false;
    switch (t->form) {
    case SA2_PACK_FORM_ROWS:
        return t->first >= 0 && count % cols == 0 && t->first <= rows &&
               count / cols <= rows - t->first;
    case SA2_PACK_FORM_GATE:
    case SA2_PACK_FORM_UP:
        return !plain && t->ndim == 2 && rows % 2 == 0 && t->shape[0] == rows / 2 &&
               t->shape[1] == cols && t->first == 0;
    case SA2_PACK_FORM_TAPS:
        return !plain && t->ndim >= 3 && t->shape[0] == rows && count / rows == cols &&
               t->first >= 1 && (cols / t->shape[t->ndim - 1]) % t->first == 0;
    case SA2_PACK_FORMS:
        break;
    }
    return false;
}

static sa2_status read_tensor(sa2_pack *p, int i, const unsigned char *record, sa2_error *err)
{
    sa2_pack_tensor t = {.name = text_at(p, sa2_le32(record)),
                         .ndim = (int)sa2_le32(record + 16),
                         .first = (int64_t)sa2_le64(record + 56)};
    uint32_t block = sa2_le32(record + 8), form = sa2_le32(record + 12);
    if (t.name == NULL)
        return damaged(p, err, "index: a tensor without a name");
    sa2_status st = read_dtype(p, sa2_le32(record + 4), &t.dtype, err);
    if (st != SA2_OK)
        return st;
    if (block >= (uint32_t)p->n_blocks || form >= SA2_PACK_FORMS ||
        (t.dtype != SA2_F32 && t.dtype != SA2_BF16) || sa2_le32(record + 20) != 0 ||
        !read_shape(record + 24, sa2_le32(record + 16), t.shape))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s: a record that makes no sense", p->path,
                        t.name);
    t.block = (int)block;
    t.form = (sa2_pack_form)form;
    if (!lies_in(&t, &p->blocks[block]))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s does not lie in %s as it says", p->path,
                        t.name, p->blocks[block].name);
    p->tensors[i] = t;
    return SA2_OK;
}

static sa2_status read_source(sa2_pack *p, int i, const unsigned char *record, sa2_error *err)
{
    p->sources[i] = (sa2_pack_source){.name = text_at(p, sa2_le32(record)),
                                      .bytes = sa2_le64(record + 8),
                                      .hash = sa2_le64(record + 16)};
    return p->sources[i].name != NULL ? SA2_OK : damaged(p, err, "index: a source without a name");
}

/* The counts, which together must fill the index to its last byte. */
static sa2_status read_counts(sa2_pack *p, sa2_error *err)
{
    const unsigned char *index = p->bytes + p->index_at;
    uint64_t blocks = sa2_le32(index), tensors = sa2_le32(index + 4), sources = sa2_le32(index + 8);
    if (blocks > SA2_LIMIT_TENSORS || tensors > SA2_LIMIT_TENSORS || sources > SA2_LIMIT_SHARDS)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "%s: %" PRIu64 " blocks of %" PRIu64 " tensors, up to %d are read", p->path,
                        blocks, tensors, SA2_LIMIT_TENSORS);
    uint64_t records = SA2_PACK_INDEX_HEAD_BYTES + blocks * SA2_PACK_BLOCK_BYTES +
                       tensors * SA2_PACK_TENSOR_BYTES + sources * SA2_PACK_SOURCE_BYTES;
    p->text_bytes = sa2_le32(index + 12);
    if (blocks < 1 || p->text_bytes < 1 || records + p->text_bytes != p->index_bytes ||
        p->bytes[p->n_bytes - 1] != 0)
        return damaged(p, err, "index: records that do not fill it");
    p->texts = (const char *)index + records;
    p->blocks = calloc(blocks, sizeof *p->blocks);
    p->tensors = calloc(tensors + 1, sizeof *p->tensors);
    p->sources = calloc(sources + 1, sizeof *p->sources);
    if (p->blocks == NULL || p->tensors == NULL || p->sources == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for its index", p->path);
    p->n_blocks = (int)blocks;
    p->n_tensors = (int)tensors;
    p->n_sources = (int)sources;
    return SA2_OK;
}

static sa2_status read_index(sa2_pack *p, sa2_error *err)
{
    sa2_status st = read_counts(p, err);
    const unsigned char *record = p->bytes + p->index_at + SA2_PACK_INDEX_HEAD_BYTES;
    uint64_t end = SA2_PACK_FIRST_BLOCK;
    for (int i = 0; st == SA2_OK && i < p->n_blocks; i++, record += SA2_PACK_BLOCK_BYTES)
        st = read_block(p, i, record, &end, err);
    for (int i = 0; st == SA2_OK && i < p->n_tensors; i++, record += SA2_PACK_TENSOR_BYTES)
        st = read_tensor(p, i, record, err);
    for (int i = 0; st == SA2_OK && i < p->n_sources; i++, record += SA2_PACK_SOURCE_BYTES)
        st = read_source(p, i, record, err);
    if (st == SA2_OK && p->index_at != sa2_pack_place(end, 0))
        st = damaged(p, err, "bytes between the last block and the index");
    return st;
}

/* ---- opening ---- */

static sa2_status create(sa2_pack **pack, const char *path, sa2_error *err)
{
    sa2_pack *p = calloc(1, sizeof *p);
    size_t n = strlen(path) + 1;
    *pack = p;
    if (p != NULL)
        p->path = malloc(n);
    if (p == NULL || p->path == NULL) {
        free(p);
        *pack = NULL;
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
    }
    memcpy(p->path, path, n);
    atomic_init(&p->owners, 1);
    return SA2_OK;
}

static sa2_status read_whole(sa2_pack **pack, sa2_error *err)
{
    sa2_status st = read_header(*pack, err);
    if (st == SA2_OK)
        st = read_index(*pack, err);
    if (st != SA2_OK) {
        sa2_pack_close(*pack);
        *pack = NULL;
    }
    return st;
}

sa2_status sa2_pack_parse(sa2_pack **pack, const void *bytes, size_t n, const char *origin,
                          sa2_error *err)
{
    sa2_status st = create(pack, origin, err);
    if (st != SA2_OK)
        return st;
    (*pack)->bytes = bytes;
    (*pack)->n_bytes = n;
    return read_whole(pack, err);
}

sa2_status sa2_pack_open(sa2_pack **pack, const char *path, sa2_error *err)
{
    sa2_status st = create(pack, path, err);
    if (st != SA2_OK)
        return st;
    st = sa2_mapped_file_open(&(*pack)->file, path, err);
    if (st != SA2_OK) {
        sa2_pack_close(*pack);
        *pack = NULL;
        return st;
    }
    (*pack)->bytes = (*pack)->file.data;
    (*pack)->n_bytes = (*pack)->file.bytes;
    return read_whole(pack, err);
}

bool sa2_pack_is(const char *path)
{
    unsigned char start[sizeof sa2_pack_magic];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, start, sizeof start) : -1;
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)sizeof start && memcmp(start, sa2_pack_magic, sizeof start) == 0;
}

sa2_pack *sa2_pack_share(sa2_pack *pack)
{
    if (pack != NULL)
        atomic_fetch_add(&pack->owners, 1);
    return pack;
}

void sa2_pack_close(sa2_pack *p)
{
    if (p == NULL || atomic_fetch_sub(&p->owners, 1) > 1)
        return;
    sa2_name_table_destroy(&p->names);
    free(p->blocks);
    free(p->tensors);
    free(p->sources);
    sa2_mapped_file_close(&p->file);
    free(p->path);
    free(p);
}

/* ---- looking ---- */

const char *sa2_pack_path(const sa2_pack *p)
{
    return p->path;
}

const unsigned char *sa2_pack_start(const sa2_pack *p)
{
    return p->bytes;
}

const unsigned char *sa2_pack_index(const sa2_pack *p)
{
    return p->bytes + p->index_at;
}

uint64_t sa2_pack_bytes(const sa2_pack *p)
{
    return p->n_bytes;
}

int sa2_pack_n_blocks(const sa2_pack *p)
{
    return p->n_blocks;
}

const sa2_pack_block *sa2_pack_get_block(const sa2_pack *p, int i)
{
    return &p->blocks[i];
}

const sa2_pack_block *sa2_pack_find(const sa2_pack *p, const char *name)
{
    int32_t i = sa2_name_table_find(&p->names, name);
    return i >= 0 ? &p->blocks[i] : NULL;
}

int sa2_pack_n_tensors(const sa2_pack *p)
{
    return p->n_tensors;
}

const sa2_pack_tensor *sa2_pack_get_tensor(const sa2_pack *p, int i)
{
    return &p->tensors[i];
}

int sa2_pack_n_sources(const sa2_pack *p)
{
    return p->n_sources;
}

const sa2_pack_source *sa2_pack_get_source(const sa2_pack *p, int i)
{
    return &p->sources[i];
}
