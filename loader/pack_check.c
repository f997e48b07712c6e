/* pack_check.c - are the bytes of a native file what they were when it was written? */
#include <stdlib.h>
#include <string.h>

#include "loader/little_endian.h"
#include "loader/pack.h"
#include "loader/pack_format.h"
#include "loader/ranges.h"
#include "loader/xxh3.h"

uint64_t sa2_pack_hash_piece(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t sa2_pack_hash_pieces(const unsigned char *hashes, size_t n)
{
    return XXH3_64bits(hashes, n * sizeof(uint64_t));
}

/* ---- one block ---- */

typedef struct hash_job {
    const sa2_pack_block *block;
    unsigned char *hashes; /* of its pieces */
} hash_job;

static sa2_status hash_some(void *context, int64_t first, int64_t count, sa2_error *err)
{
    (void)err;
    const hash_job *job = context;
    for (int64_t i = first; i < first + count; i++) {
        uint64_t at = (uint64_t)i * SA2_PACK_HASH_PIECE, left = job->block->bytes - at;
        size_t bytes = left < SA2_PACK_HASH_PIECE ? (size_t)left : SA2_PACK_HASH_PIECE;
        sa2_put_le64(job->hashes + (size_t)i * sizeof(uint64_t),
                     sa2_pack_hash_piece(job->block->data + at, bytes));
    }
    return SA2_OK;
}

sa2_status sa2_pack_check(const sa2_pack *pack, const sa2_pack_block *block, int n_threads,
                          sa2_error *err)
{
    enum { GRAIN = 4 };
    size_t n = (size_t)((block->bytes + SA2_PACK_HASH_PIECE - 1) / SA2_PACK_HASH_PIECE);
    hash_job job = {.block = block};
    job.hashes = malloc(n * sizeof(uint64_t)); /* NOLINT: bytes, as the file has them */
    if (job.hashes == NULL)
        return sa2_fail_also(err, SA2_ERR_NOMEM, "%s: %s: no memory to check it",
                             sa2_pack_path(pack), block->name);
    sa2_ranges_run(n_threads, (int64_t)n, GRAIN, hash_some, &job, NULL);
    bool same = sa2_pack_hash_pieces(job.hashes, n) == block->hash;
    free(job.hashes);
    return same ? SA2_OK
                : sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %s was changed after it was written",
                                sa2_pack_path(pack), block->name);
}

sa2_status sa2_pack_file(const sa2_pack *pack, const char *name, const char **text, size_t *bytes,
                         sa2_error *err)
{
    char full[256] = "file/";
    *text = NULL;
    *bytes = 0;
    strncat(full, name, sizeof full - sizeof "file/");
    const sa2_pack_block *block = sa2_pack_find(pack, full);
    if (block == NULL)
        return SA2_OK;
    sa2_status st = sa2_pack_check(pack, block, 1, err);
    if (st == SA2_OK) {
        *text = (const char *)block->data;
        *bytes = (size_t)block->bytes;
    }
    return st;
}

/* ---- all of them ---- */

/* The bytes from `from` to `to`, which belong to nobody. */
static sa2_status check_gap(const sa2_pack *pack, const unsigned char *from,
                            const unsigned char *to, sa2_error *err)
{
    for (; from < to; from++)
        if (*from != 0)
            return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: a byte between its blocks is not 0",
                                 sa2_pack_path(pack));
    return SA2_OK;
}

sa2_status sa2_pack_check_all(const sa2_pack *pack, int n_threads,
                              const sa2_pack_progress *progress, sa2_error *err)
{
    sa2_status st = SA2_OK;
    const unsigned char *end = sa2_pack_start(pack) + SA2_PACK_HEADER_BYTES;
    for (int i = 0; i < sa2_pack_n_blocks(pack); i++) {
        const sa2_pack_block *block = sa2_pack_get_block(pack, i);
        sa2_status gap = check_gap(pack, end, block->data, err);
        sa2_status checked = sa2_pack_check(pack, block, n_threads, err);
        st = st != SA2_OK ? st : gap != SA2_OK ? gap : checked;
        end = block->data + block->bytes;
        if (progress != NULL && !progress->go_on(progress->context, (int64_t)block->bytes))
            return sa2_fail(err, SA2_ERR_CANCELLED, "%s: given up", sa2_pack_path(pack));
    }
    sa2_status gap = check_gap(pack, end, sa2_pack_index(pack), err);
    return st != SA2_OK ? st : gap;
}
