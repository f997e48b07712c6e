#include "loader/pack_writer.h"

#include <stdlib.h>
#include <string.h>

#include "loader/little_endian.h"
#include "loader/name_table.h"
#include "loader/output_file.h"
#include "loader/pack_format.h"
#include "loader/text_pool.h"
#include "loader/xxh3.h"

/* Bytes that grow: records of the index, and its texts. */
typedef struct bytes {
    unsigned char *data;
    size_t n, room;
} bytes;

struct sa2_pack_writer {
    sa2_output_file *file;
    const sa2_pack_progress *progress;
    char *path;
    uint64_t at; /* bytes written so far */
    bytes blocks, tensors, sources, texts, hashes;
    int n_blocks, n_tensors, n_sources;
    sa2_name_table names; /* of blocks */
    sa2_name_table words; /* texts that are there, with their offsets */
    sa2_text_pool pool;   /* of both */
};

/* ---- records in memory ---- */

static sa2_status no_memory(const sa2_pack_writer *w, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for its index", w->path);
}

/* Room for n more bytes at the end, or NULL. */
static unsigned char *extend(bytes *b, size_t n)
{
    if (b->room - b->n < n) {
        size_t room = 2 * b->room + n + 4096;
        unsigned char *grown = realloc(b->data, room);
        if (grown == NULL)
            return NULL;
        b->data = grown;
        b->room = room;
    }
    b->n += n;
    return b->data + b->n - n;
}

/* The offset of a text, which is kept once; -1: no memory. */
static int64_t put_text(sa2_pack_writer *w, const char *text)
{
    int32_t known = sa2_name_table_find(&w->words, text);
    if (known >= 0)
        return known;
    size_t n = strlen(text) + 1;
    const char *copy = sa2_text_pool_copy(&w->pool, text, n - 1);
    size_t at = w->texts.n;
    if (copy == NULL || at > INT32_MAX - n || !sa2_name_table_put(&w->words, copy, (int32_t)at))
        return -1;
    unsigned char *to = extend(&w->texts, n);
    if (to == NULL)
        return -1;
    memcpy(to, text, n);
    return (int64_t)at;
}

static unsigned char *put_shape(unsigned char *to, int ndim, const int64_t *shape)
{
    for (int i = 0; i < SA2_MAX_DIMS; i++)
        to = sa2_put_le64(to, i < ndim ? (uint64_t)shape[i] : 0);
    return to;
}

/* ---- blocks ---- */

static sa2_status go_on(const sa2_pack_writer *w, size_t n, sa2_error *err)
{
    if (w->progress == NULL || w->progress->go_on(w->progress->context, (int64_t)n))
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_CANCELLED, "%s: given up", w->path);
}

static sa2_status write_zeros(sa2_pack_writer *w, uint64_t until, sa2_error *err)
{
    static const unsigned char zeros[SA2_PACK_LONG_ALIGN];
    sa2_status st = sa2_output_file_write(w->file, zeros, (size_t)(until - w->at), err);
    w->at = until;
    return st;
}

/* Piece by piece, so that what was hashed is still in the cache when it is written. */
static sa2_status write_data(sa2_pack_writer *w, const unsigned char *data, size_t n,
                             uint64_t *hash, sa2_error *err)
{
    w->hashes.n = 0;
    for (size_t at = 0; at < n;) {
        size_t piece = n - at < SA2_PACK_HASH_PIECE ? n - at : SA2_PACK_HASH_PIECE;
        unsigned char *to = extend(&w->hashes, sizeof(uint64_t));
        if (to == NULL)
            return no_memory(w, err);
        sa2_put_le64(to, sa2_pack_hash_piece(data + at, piece));
        sa2_status st = sa2_output_file_write(w->file, data + at, piece, err);
        if (st == SA2_OK)
            st = go_on(w, piece, err);
        if (st != SA2_OK)
            return st;
        at += piece;
    }
    *hash = sa2_pack_hash_pieces(w->hashes.data, w->hashes.n / sizeof(uint64_t));
    w->at += n;
    return SA2_OK;
}

sa2_status sa2_pack_writer_block(sa2_pack_writer *w, const sa2_pack_block *block, int *index,
                                 sa2_error *err)
{
    if (sa2_name_table_find(&w->names, block->name) >= 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s comes twice", w->path, block->name);
    uint64_t hash = 0, place = sa2_pack_place(w->at, block->bytes);
    sa2_status st = write_zeros(w, place, err);
    if (st == SA2_OK)
        st = write_data(w, block->data, (size_t)block->bytes, &hash, err);
    if (st != SA2_OK)
        return st;
    int64_t name = put_text(w, block->name), layout = put_text(w, block->layout);
    int64_t dtype = put_text(w, sa2_dtype_name(block->dtype));
    const char *copy = sa2_text_pool_copy(&w->pool, block->name, strlen(block->name));
    unsigned char *to = extend(&w->blocks, SA2_PACK_BLOCK_BYTES);
    if (name < 0 || layout < 0 || dtype < 0 || copy == NULL || to == NULL ||
        !sa2_name_table_put(&w->names, copy, w->n_blocks))
        return no_memory(w, err);
    to = sa2_put_le32(to, (uint32_t)name);
    to = sa2_put_le32(to, (uint32_t)dtype);
    to = sa2_put_le32(to, (uint32_t)layout);
    to = sa2_put_le32(to, (uint32_t)block->ndim);
    to = put_shape(to, block->ndim, block->shape);
    to = sa2_put_le64(to, place);
    to = sa2_put_le64(to, block->bytes);
    sa2_put_le64(to, hash);
    if (index != NULL)
        *index = w->n_blocks;
    w->n_blocks++;
    return SA2_OK;
}

sa2_status sa2_pack_writer_tensor(sa2_pack_writer *w, const sa2_pack_tensor *tensor, sa2_error *err)
{
    int64_t name = put_text(w, tensor->name), dtype = put_text(w, sa2_dtype_name(tensor->dtype));
    unsigned char *to = extend(&w->tensors, SA2_PACK_TENSOR_BYTES);
    if (name < 0 || dtype < 0 || to == NULL)
        return no_memory(w, err);
    to = sa2_put_le32(to, (uint32_t)name);
    to = sa2_put_le32(to, (uint32_t)dtype);
    to = sa2_put_le32(to, (uint32_t)tensor->block);
    to = sa2_put_le32(to, (uint32_t)tensor->form);
    to = sa2_put_le32(to, (uint32_t)tensor->ndim);
    to = sa2_put_le32(to, 0);
    to = put_shape(to, tensor->ndim, tensor->shape);
    sa2_put_le64(to, (uint64_t)tensor->first);
    w->n_tensors++;
    return SA2_OK;
}

sa2_status sa2_pack_writer_source(sa2_pack_writer *w, const sa2_pack_source *source, sa2_error *err)
{
    int64_t name = put_text(w, source->name);
    unsigned char *to = extend(&w->sources, SA2_PACK_SOURCE_BYTES);
    if (name < 0 || to == NULL)
        return no_memory(w, err);
    to = sa2_put_le32(to, (uint32_t)name);
    to = sa2_put_le32(to, 0);
    to = sa2_put_le64(to, source->bytes);
    sa2_put_le64(to, source->hash);
    w->n_sources++;
    return SA2_OK;
}

/* ---- a file ---- */

sa2_status sa2_pack_writer_create(sa2_pack_writer **writer, const char *path,
                                  const sa2_pack_progress *progress, sa2_error *err)
{
    size_t n = strlen(path) + 1;
    sa2_pack_writer *w = calloc(1, sizeof *w);
    *writer = NULL;
    if (w == NULL || (w->path = malloc(n)) == NULL) {
        free(w);
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
    }
    memcpy(w->path, path, n);
    w->progress = progress;
    sa2_status st = sa2_output_file_create(&w->file, path, err);
    if (st == SA2_OK)
        st = write_zeros(w, SA2_PACK_FIRST_BLOCK, err);
    if (st == SA2_OK)
        *writer = w;
    else
        sa2_pack_writer_destroy(w);
    return st;
}

static sa2_status write_index(sa2_pack_writer *w, uint64_t *offset, uint64_t *hash, sa2_error *err)
{
    unsigned char head[SA2_PACK_INDEX_HEAD_BYTES];
    unsigned char *to = sa2_put_le32(head, (uint32_t)w->n_blocks);
    to = sa2_put_le32(to, (uint32_t)w->n_tensors);
    to = sa2_put_le32(to, (uint32_t)w->n_sources);
    sa2_put_le32(to, (uint32_t)w->texts.n);
    const bytes parts[] = {
        {.data = head, .n = sizeof head}, w->blocks, w->tensors, w->sources, w->texts};
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        return no_memory(w, err);
    XXH3_64bits_reset(state);
    sa2_status st = write_zeros(w, sa2_pack_place(w->at, 0), err);
    *offset = w->at;
    for (size_t i = 0; st == SA2_OK && i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].n == 0)
            continue;
        XXH3_64bits_update(state, parts[i].data, parts[i].n);
        st = sa2_output_file_write(w->file, parts[i].data, parts[i].n, err);
        w->at += parts[i].n;
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return st;
}

static sa2_status write_header(sa2_pack_writer *w, uint64_t index, uint64_t hash, sa2_error *err)
{
    unsigned char header[SA2_PACK_HEADER_BYTES];
    memcpy(header, sa2_pack_magic, sizeof sa2_pack_magic);
    unsigned char *to = sa2_put_le32(header + sizeof sa2_pack_magic, SA2_PACK_VERSION);
    to = sa2_put_le32(to, SA2_PACK_HEADER_BYTES);
    to = sa2_put_le64(to, w->at);
    to = sa2_put_le64(to, index);
    to = sa2_put_le64(to, w->at - index);
    to = sa2_put_le64(to, hash);
    to = sa2_put_le64(to, 0);
    sa2_put_le64(to, XXH3_64bits(header, SA2_PACK_HEADER_BYTES - sizeof(uint64_t)));
    return sa2_output_file_write_at(w->file, 0, header, sizeof header, err);
}

static sa2_status read_back(const sa2_pack_writer *w, int n_threads, sa2_error *err)
{
    sa2_pack *pack = NULL;
    sa2_error found = {0};
    sa2_status st = sa2_pack_open(&pack, sa2_output_file_partial(w->file), &found);
    if (st == SA2_OK)
        st = sa2_pack_check_all(pack, n_threads, w->progress, &found);
    sa2_pack_close(pack);
    if (st != SA2_OK && err != NULL)
        *err = found;
    return st == SA2_OK ? st : sa2_wrap(err, st, "%s: reading it back", w->path);
}

sa2_status sa2_pack_writer_finish(sa2_pack_writer *w, int n_threads, sa2_error *err)
{
    uint64_t index = 0, hash = 0;
    sa2_status st = write_index(w, &index, &hash, err);
    if (st == SA2_OK)
        st = write_header(w, index, hash, err);
    if (st == SA2_OK)
        st = read_back(w, n_threads, err);
    return st == SA2_OK ? sa2_output_file_commit(w->file, err) : st;
}

void sa2_pack_writer_destroy(sa2_pack_writer *w)
{
    if (w == NULL)
        return;
    sa2_output_file_destroy(w->file);
    bytes *const all[] = {&w->blocks, &w->tensors, &w->sources, &w->texts, &w->hashes};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]->data);
    sa2_name_table_destroy(&w->names);
    sa2_name_table_destroy(&w->words);
    sa2_text_pool_destroy(&w->pool);
    free(w->path);
    free(w);
}
