/* pack.h - the native file: everything that a release folder holds, in blocks that are used where they lie.
 *
 *   header    64 bytes: magic, version, sizes, where the index is; written last, so that a file without it is none
 *   blocks    from byte 4096 on, in rising order, each at a multiple of 64, or of 4096 when it is that long;
 *             zeros between them
 *   index     a record for each block, each tensor and each source file, and their names
 *
 * A block is a weight in some order of bytes that a backend reads (kernels/layout.h), plain rows, or a file
 * (configuration, tokenizer). A tensor is one of the release's, and where its values are among the blocks.
 * Names begin with a part: "model/lm_head.weight", "flow/...", "file/config.json". Numbers are little-endian;
 * index, header and each block have an XXH3 of 64 bits.
 *
 * Threads: a pack that is open is only read, but for the checks, which any thread may make.
 */
#ifndef SA2_LOADER_PACK_H
#define SA2_LOADER_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"

enum { SA2_PACK_VERSION = 1 };

#define SA2_PACK_ROWS "rows" /* the layout of what lies row by row */

typedef struct sa2_pack_block {
    const char *name;
    const char *layout; /* SA2_PACK_ROWS, or an order of matrices */
    sa2_dtype dtype;
    int ndim; /* 2 for a matrix */
    int64_t shape[SA2_MAX_DIMS];
    const unsigned char *data; /* in the file; not checked until sa2_pack_check() */
    uint64_t bytes, hash;
} sa2_pack_block;

/* How a tensor lies in its block. */
typedef enum sa2_pack_form {
    SA2_PACK_FORM_ROWS = 0, /* rows of the block from `first` on, as they are */
    SA2_PACK_FORM_GATE,     /* every row of the gate's half of a swiglu matrix */
    SA2_PACK_FORM_UP,       /* of the other half */
    SA2_PACK_FORM_TAPS, /* [out, in * first, kernel] as rows [kernel, first, in]: `first` is bins */
    SA2_PACK_FORMS,
} sa2_pack_form;

typedef struct sa2_pack_tensor {
    const char *name;
    sa2_dtype dtype; /* in the release: F32 or BF16 */
    int ndim;
    int64_t shape[SA2_MAX_DIMS];
    int block;
    sa2_pack_form form;
    int64_t first;
} sa2_pack_tensor;

/* A file that the pack was made of. */
typedef struct sa2_pack_source {
    const char *name; /* below the folder */
    uint64_t bytes, hash;
} sa2_pack_source;

typedef struct sa2_pack sa2_pack;

/* Asked after each piece of a few MB, with its bytes; false gives up (SA2_ERR_CANCELLED). */
typedef struct sa2_pack_progress {
    bool (*go_on)(void *context, int64_t bytes);
    void *context;
} sa2_pack_progress;

/* Maps the file and judges header and index whole: every offset, size, name and shape; no block is read.
 * Errors, each with the path: SA2_ERR_IO; SA2_ERR_FORMAT no native file, cut short, changed, sizes that do not
 * fit; SA2_ERR_UNSUPPORTED another version, a dtype that this build has not, with the command that makes the
 * file anew; SA2_ERR_LIMIT; SA2_ERR_NOMEM. */
sa2_status sa2_pack_open(sa2_pack **pack, const char *path, sa2_error *err);

/* The same over bytes[0, n), aligned to 64, which outlive the pack; `origin` stands for the path. */
sa2_status sa2_pack_parse(sa2_pack **pack, const void *bytes, size_t n, const char *origin,
                          sa2_error *err);

/* True when the file begins as a native one: also one that sa2_pack_open() refuses. */
bool sa2_pack_is(const char *path);

/* One more owner of an open pack; each closes it. NULL is fine for both. */
sa2_pack *sa2_pack_share(sa2_pack *pack);
void sa2_pack_close(sa2_pack *pack);

const char *sa2_pack_path(const sa2_pack *pack);
uint64_t sa2_pack_bytes(const sa2_pack *pack); /* of the file */

int sa2_pack_n_blocks(const sa2_pack *pack);
const sa2_pack_block *sa2_pack_get_block(const sa2_pack *pack, int i);
const sa2_pack_block *sa2_pack_find(const sa2_pack *pack, const char *name); /* NULL: none */
int sa2_pack_n_tensors(const sa2_pack *pack);
const sa2_pack_tensor *sa2_pack_get_tensor(const sa2_pack *pack, int i);
int sa2_pack_n_sources(const sa2_pack *pack);
const sa2_pack_source *sa2_pack_get_source(const sa2_pack *pack, int i);

/* Compares a block's bytes with its checksum, in up to n_threads threads.
 * Errors: SA2_ERR_FORMAT; SA2_ERR_NOMEM. Lines are added to the report. */
sa2_status sa2_pack_check(const sa2_pack *pack, const sa2_pack_block *block, int n_threads,
                          sa2_error *err);

/* Every block, and that there are zeros between them; all damage in one report. progress may be NULL.
 * Errors: SA2_ERR_FORMAT; SA2_ERR_CANCELLED; SA2_ERR_NOMEM. */
sa2_status sa2_pack_check_all(const sa2_pack *pack, int n_threads,
                              const sa2_pack_progress *progress, sa2_error *err);

/* The file block "file/<name>", checked. *text is NULL when there is none. Errors: SA2_ERR_FORMAT. */
sa2_status sa2_pack_file(const sa2_pack *pack, const char *name, const char **text, size_t *bytes,
                         sa2_error *err);

#endif
