/* pack_format.h - the bytes of a native file's header and index, for its reader and its writer.
 */
#ifndef SA2_LOADER_PACK_FORMAT_H
#define SA2_LOADER_PACK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "loader/pack.h"

/* "SA2PACK" and a line end, which a transfer as text would change. */
static const unsigned char sa2_pack_magic[8] = {'S', 'A', '2', 'P', 'A', 'C', 'K', '\n'};

/* The header:  magic 8, version u32, bytes of the header u32, bytes of the file u64, offset of the index u64,
 *              its bytes u64, its hash u64, 0 u64, hash of these 56 u64
 * The index:   counts of blocks, tensors and sources u32, bytes of the texts u32, the records, the texts
 * A block:     name, dtype, layout, ndim u32; shape 4 * u64; offset, bytes, hash u64
 * A tensor:    name, dtype, block, form, ndim, 0 u32; shape 4 * u64; first u64
 * A source:    name, 0 u32; bytes, hash u64
 * Names, dtypes and layouts are offsets of texts, each ended by a 0. Unused dimensions are 0. */
enum {
    SA2_PACK_HEADER_BYTES = 64,
    SA2_PACK_INDEX_HEAD_BYTES = 16,
    SA2_PACK_BLOCK_BYTES = 72,
    SA2_PACK_TENSOR_BYTES = 64,
    SA2_PACK_SOURCE_BYTES = 24,
    SA2_PACK_FIRST_BLOCK = 4096,
    SA2_PACK_ALIGN = 64,        /* what a kernel needs of an address */
    SA2_PACK_LONG_ALIGN = 4096, /* of blocks of that many bytes: whole pages of the system */
    SA2_PACK_HASH_PIECE = 1 << 20,
};

/* Where a block of that many bytes begins, behind `offset`. */
static inline uint64_t sa2_pack_place(uint64_t offset, uint64_t bytes)
{
    uint64_t align = bytes >= SA2_PACK_LONG_ALIGN ? SA2_PACK_LONG_ALIGN : SA2_PACK_ALIGN;
    return (offset + align - 1) / align * align;
}

/* A block's checksum is the XXH3 of those of its pieces, little-endian, so that threads can share it and a cache
 * holds what is hashed and then written. This is of a piece. */
uint64_t sa2_pack_hash_piece(const void *data, size_t bytes);

/* Of hashes [n], little-endian. */
uint64_t sa2_pack_hash_pieces(const unsigned char *hashes, size_t n);

/* The first byte of an open file, and of its index. */
const unsigned char *sa2_pack_start(const sa2_pack *pack);
const unsigned char *sa2_pack_index(const sa2_pack *pack);

#endif
