#include "tokenizer/encode.h"

#include <assert.h>
#include <string.h>

#include "tokenizer/bpe.h"
#include "tokenizer/nfc.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_tables.h"
#include "tokenizer/utf8.h"

enum {
    CACHE_BITS = 15, /* 32768 entries of a cache line: 2 MiB */
    CACHED_BYTES = 22,
    CACHED_IDS = 10,
};

/* The ids of a short pre-token. n_bytes 0: empty. */
typedef struct cache_entry {
    uint8_t n_bytes;
    uint8_t n_ids;
    char bytes[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
} cache_entry;

static_assert(sizeof(cache_entry) == SA2_ARENA_ALIGN, "an entry is a cache line");

struct sa2_encoder {
    sa2_arena arena; /* holds this struct and the cache */
    const sa2_tokenizer *tokenizer;
    cache_entry *cache;
    sa2_bpe_work bpe;
    sa2_bytes repaired; /* text with its ill-formed bytes replaced */
    sa2_bytes composed; /* a gap in NFC */
    sa2_ids codes;
};

sa2_status sa2_encoder_create(sa2_encoder **encoder, const sa2_tokenizer *tokenizer, sa2_error *err)
{
    size_t cache_bytes = sizeof(cache_entry) << CACHE_BITS;
    sa2_arena arena;
    sa2_status st =
        sa2_arena_create(&arena, sa2_arena_round(sizeof(sa2_encoder)) + cache_bytes, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "encoder");
    sa2_encoder *e = sa2_arena_take(&arena, sizeof *e);
    *e = (sa2_encoder){.tokenizer = tokenizer};
    e->cache = sa2_arena_take(&arena, cache_bytes); /* fresh memory is zero: empty */
    e->arena = arena;
    *encoder = e;
    return SA2_OK;
}

void sa2_encoder_destroy(sa2_encoder *encoder)
{
    if (encoder == NULL)
        return;
    sa2_bpe_work_free(&encoder->bpe);
    sa2_bytes_free(&encoder->repaired);
    sa2_bytes_free(&encoder->composed);
    sa2_ids_free(&encoder->codes);
    sa2_arena arena = encoder->arena; /* a copy: the original lies inside */
    sa2_arena_destroy(&arena);
}

const sa2_tokenizer *sa2_encoder_tokenizer(const sa2_encoder *encoder)
{
    return encoder->tokenizer;
}

/* Where the cache keeps a pre-token of n <= CACHED_BYTES bytes. */
static cache_entry *cache_slot(sa2_encoder *encoder, const char *bytes, size_t n)
{
    uint64_t words[3] = {0};
    static_assert(CACHED_BYTES < sizeof words, "the last byte is for the length");
    memcpy(words, bytes, n);
    ((unsigned char *)words)[sizeof words - 1] = (unsigned char)n;
    uint64_t hash = words[0] * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 29 ^ words[1]) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 32 ^ words[2]) * UINT64_C(0x94d049bb133111eb);
    return &encoder->cache[hash >> (64 - CACHE_BITS)];
}

static bool encode_pretoken(sa2_encoder *encoder, const char *bytes, size_t n, sa2_ids *ids)
{
    if (n > CACHED_BYTES)
        return sa2_bpe_merge(&encoder->bpe, encoder->tokenizer, bytes, n, ids);
    cache_entry *entry = cache_slot(encoder, bytes, n);
    if (entry->n_bytes == n && memcmp(entry->bytes, bytes, n) == 0) {
        sa2_ids_append_all(ids, entry->ids, entry->n_ids);
        return !ids->failed;
    }
    size_t before = ids->n;
    if (!sa2_bpe_merge(&encoder->bpe, encoder->tokenizer, bytes, n, ids))
        return false;
    size_t n_ids = ids->n - before;
    if (n_ids <= CACHED_IDS) {
        entry->n_bytes = (uint8_t)n;
        entry->n_ids = (uint8_t)n_ids;
        memcpy(entry->bytes, bytes, n);
        memcpy(entry->ids, ids->data + before, n_ids * sizeof *ids->data);
    }
    return true;
}

/* Text between added tokens, well-formed. */
static bool encode_gap(sa2_encoder *encoder, const char *text, size_t n, sa2_ids *ids)
{
    if (!sa2_nfc_certain(text, n)) {
        sa2_bytes_clear(&encoder->composed);
        if (!sa2_nfc(text, n, &encoder->codes, &encoder->composed))
            return false;
        text = encoder->composed.data;
        n = encoder->composed.n;
    }
    size_t at = 0;
    while (at < n) {
        size_t length = sa2_pretoken_end(text + at, n - at);
        if (!encode_pretoken(encoder, text + at, length, ids))
            return false;
        at += length;
    }
    return true;
}

/* Cuts at added tokens that do not touch `literal`. */
static bool encode_text(sa2_encoder *encoder, const char *text, size_t n, sa2_span literal,
                        sa2_ids *ids)
{
    const sa2_added_tokens *added = &encoder->tokenizer->added;
    size_t gap = 0;
    size_t at = 0;
    while (at < n) {
        if (at >= literal.from && at < literal.to) {
            at = literal.to;
            continue;
        }
        const sa2_added_token *token = NULL;
        size_t end = at < literal.from && literal.from < literal.to ? literal.from : n;
        if (added->starts[(unsigned char)text[at]])
            token = sa2_added_tokens_match(added, text + at, end - at);
        if (token == NULL) {
            at++;
            continue;
        }
        if (!encode_gap(encoder, text + gap, at - gap, ids))
            return false;
        sa2_ids_append(ids, token->id);
        at += token->n;
        gap = at;
    }
    return encode_gap(encoder, text + gap, n - gap, ids);
}

/* Appends text [from, to) in well-formed UTF-8 and returns where it ends now. */
static size_t repair_part(sa2_encoder *encoder, const char *text, size_t from, size_t to)
{
    sa2_utf8_repair(text + from, to - from, &encoder->repaired);
    return encoder->repaired.n;
}

sa2_status sa2_encode(sa2_encoder *encoder, const char *text, size_t n, sa2_span literal,
                      sa2_ids *ids, sa2_error *err)
{
    assert(literal.from <= literal.to && literal.to <= n);
    /* Repair and NFC make a byte at most three, and a pre-token must stay within its limit. */
    if (n > SA2_BPE_MAX_BYTES / 3)
        return sa2_fail(err, SA2_ERR_LIMIT, "text: %zu bytes, at most %d can be encoded", n,
                        SA2_BPE_MAX_BYTES / 3);
    if (sa2_utf8_valid(text, n) < n) {
        sa2_bytes_clear(&encoder->repaired);
        sa2_span moved;
        moved.from = repair_part(encoder, text, 0, literal.from);
        moved.to = repair_part(encoder, text, literal.from, literal.to);
        n = repair_part(encoder, text, literal.to, n);
        text = sa2_bytes_text(&encoder->repaired);
        literal = moved;
    }
    if (encoder->repaired.failed || !encode_text(encoder, text, n, literal, ids))
        return sa2_fail(err, SA2_ERR_NOMEM, "text: no memory to encode %zu bytes", n);
    return SA2_OK;
}
