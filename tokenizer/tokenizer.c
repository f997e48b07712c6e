#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/byte_symbols.h"
#include "tokenizer/tokenizer_tables.h"
#include "tokenizer/utf8.h"

enum { MAX_IDS = 1 << 24 };

/* ---- ids by their bytes; needed while building only ---- */

typedef struct byte_index {
    const sa2_token *tokens;
    int32_t *slots; /* ids; -1: empty */
    size_t mask;
} byte_index;

/* The slot of the token with these bytes, or the empty one where it would be. FNV-1a. */
static int32_t *index_slot(const byte_index *index, const char *bytes, size_t n)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    size_t i = (size_t)(hash ^ hash >> 32) & index->mask;
    for (; index->slots[i] >= 0; i = (i + 1) & index->mask) {
        const sa2_token *token = &index->tokens[index->slots[i]];
        if (token->n == n && memcmp(token->bytes, bytes, n) == 0)
            break;
    }
    return &index->slots[i];
}

static bool index_init(byte_index *index, const sa2_token *tokens, size_t n)
{
    size_t slots = 2;
    while (slots < 2 * n)
        slots *= 2;
    index->tokens = tokens;
    index->slots = malloc(slots * sizeof *index->slots);
    index->mask = slots - 1;
    for (size_t i = 0; index->slots != NULL && i < slots; i++)
        index->slots[i] = -1;
    return index->slots != NULL;
}

/* ---- size and limits ---- */

static sa2_status refuse_size(const char *what, size_t found, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_LIMIT, "tokenizer: %zu %s, at most %d can be used", found, what,
                    MAX_IDS);
}

/* The number of ids, and the bytes of all tokens with a 0 after each. */
static sa2_status measure(const sa2_tokenizer_source *source, size_t *n_ids, size_t *pool_bytes,
                          sa2_error *err)
{
    size_t counts[] = {source->n_vocab, source->n_merges, source->n_added};
    static const char *const names[] = {"vocabulary entries", "merges", "added tokens"};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i] > MAX_IDS)
            return refuse_size(names[i], counts[i], err);
    }
    sa2_status st = SA2_OK;
    int32_t last = -1;
    *pool_bytes = 0;
    for (size_t i = 0; i < source->n_vocab + source->n_added; i++) {
        bool added = i >= source->n_vocab;
        const char *text =
            added ? source->added[i - source->n_vocab].content : source->vocab[i].symbols;
        int32_t id = added ? source->added[i - source->n_vocab].id : source->vocab[i].id;
        *pool_bytes += strlen(text) + 1;
        if (id < 0 || id >= MAX_IDS)
            st = sa2_fail_also(err, SA2_ERR_LIMIT,
                               "tokenizer: \"%s\" has id %d, 0 to %d can be used", text, (int)id,
                               MAX_IDS - 1);
        else if (id > last)
            last = id;
    }
    *n_ids = (size_t)(last + 1);
    return st;
}

static sa2_status allocate(sa2_tokenizer **tokenizer, const sa2_tokenizer_source *source,
                           size_t n_ids, size_t pool_bytes, char **pool, sa2_error *err)
{
    size_t merge_bytes = sa2_merge_table_bytes(source->n_merges);
    size_t token_bytes = n_ids * sizeof(sa2_token);
    size_t added_bytes = source->n_added * sizeof(sa2_added_token);
    sa2_arena arena;
    sa2_status st = sa2_arena_create(
        &arena,
        sa2_arena_round(sizeof(sa2_tokenizer)) + sa2_arena_round(token_bytes) +
            sa2_arena_round(merge_bytes) + sa2_arena_round(added_bytes) + pool_bytes,
        err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "tokenizer");
    sa2_tokenizer *t = sa2_arena_take(&arena, sizeof *t);
    t->tokens = sa2_arena_take(&arena, token_bytes); /* fresh memory is zero: no token yet */
    t->n_ids = (int32_t)n_ids;
    sa2_merge_table_init(&t->merges, sa2_arena_take(&arena, merge_bytes), source->n_merges);
    t->added.tokens = sa2_arena_take(&arena, added_bytes);
    *pool = sa2_arena_take(&arena, pool_bytes);
    t->arena = arena;
    *tokenizer = t;
    return SA2_OK;
}

/* ---- filling, with every mistake reported ---- */

static sa2_status add_vocab(sa2_tokenizer *t, const sa2_tokenizer_source *source,
                            const byte_index *index, char **pool, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < source->n_vocab; i++) {
        const sa2_vocab_entry *entry = &source->vocab[i];
        sa2_token *token = &t->tokens[entry->id];
        char *bytes = *pool;
        size_t n = 0;
        if (!sa2_byte_symbols_to_bytes(entry->symbols, bytes, &n) || n == 0) {
            st = sa2_fail_also(err, SA2_ERR_FORMAT,
                               "vocabulary: id %d \"%s\" is not made of byte symbols",
                               (int)entry->id, entry->symbols);
            continue;
        }
        int32_t *slot = index_slot(index, bytes, n);
        if (*slot >= 0 || token->bytes != NULL) {
            st = sa2_fail_also(
                err, SA2_ERR_FORMAT, "vocabulary: \"%s\" with id %d, but %s is taken by id %d",
                entry->symbols, (int)entry->id, *slot >= 0 ? "the text" : "the number",
                (int)(*slot >= 0 ? *slot : entry->id));
            continue;
        }
        bytes[n] = '\0';
        *pool += n + 1;
        *token = (sa2_token){.bytes = bytes, .n = n};
        *slot = entry->id;
    }
    return st;
}

static sa2_status add_bytes(sa2_tokenizer *t, const byte_index *index, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int byte = 0; byte < 256; byte++) {
        char text = (char)(unsigned char)byte;
        t->byte_ids[byte] = *index_slot(index, &text, 1);
        if (t->byte_ids[byte] < 0)
            st = sa2_fail_also(err, SA2_ERR_FORMAT, "vocabulary: no token for byte 0x%02x", byte);
    }
    return st;
}

/* The id of a part of a merge, or -1. `scratch` holds at least `room` bytes. */
static int32_t find_symbols(const byte_index *index, const char *symbols, char *scratch,
                            size_t room, size_t *n)
{
    *n = 0;
    if (strlen(symbols) > room || !sa2_byte_symbols_to_bytes(symbols, scratch, n))
        return -1;
    return *index_slot(index, scratch, *n);
}

static sa2_status add_merge(sa2_tokenizer *t, const sa2_merge_entry *entry, uint32_t rank,
                            const byte_index *index, char *scratch, size_t longest, sa2_error *err)
{
    size_t n_left;
    size_t n_right;
    sa2_merge merge = {.rank = rank, .result = -1};
    merge.left = find_symbols(index, entry->left, scratch, longest, &n_left);
    merge.right = find_symbols(index, entry->right, scratch + n_left, longest, &n_right);
    if (merge.left < 0 || merge.right < 0)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "merge %u \"%s %s\": \"%s\" is no token", rank,
                             entry->left, entry->right,
                             merge.left < 0 ? entry->left : entry->right);
    merge.result = *index_slot(index, scratch, n_left + n_right);
    if (merge.result < 0)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "merge %u \"%s %s\": the result is no token",
                             rank, entry->left, entry->right);
    if (!sa2_merge_table_add(&t->merges, merge))
        return sa2_fail_also(err, SA2_ERR_FORMAT, "merge %u \"%s %s\" is there twice", rank,
                             entry->left, entry->right);
    return SA2_OK;
}

static sa2_status add_merges(sa2_tokenizer *t, const sa2_tokenizer_source *source,
                             const byte_index *index, sa2_error *err)
{
    size_t longest = 0; /* symbols of one token */
    for (size_t i = 0; i < source->n_vocab; i++) {
        size_t n = strlen(source->vocab[i].symbols);
        if (n > longest)
            longest = n;
    }
    char *scratch = malloc(2 * longest + 1);
    if (scratch == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "tokenizer: no memory for the merges");
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < source->n_merges; i++) {
        sa2_status added =
            add_merge(t, &source->merges[i], (uint32_t)i, index, scratch, longest, err);
        if (added != SA2_OK)
            st = added;
    }
    free(scratch);
    return st;
}

/* <audio_N>: never part of a text that leaves out special tokens, whatever its flag says. */
static bool is_speech(const char *content)
{
    static const char prefix[] = "<audio_";
    if (strncmp(content, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *digits = content + sizeof prefix - 1;
    size_t n = strspn(digits, "0123456789");
    return n > 0 && strcmp(digits + n, ">") == 0;
}

static sa2_status add_added(sa2_tokenizer *t, const sa2_tokenizer_source *source, char **pool,
                            sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < source->n_added; i++) {
        const sa2_added_entry *entry = &source->added[i];
        sa2_token *token = &t->tokens[entry->id];
        size_t n = strlen(entry->content);
        if (n == 0 || sa2_utf8_valid(entry->content, n) < n) {
            st = sa2_fail_also(err, SA2_ERR_FORMAT, "added token %d: \"%s\" is no text",
                               (int)entry->id, entry->content);
            continue;
        }
        if (token->bytes != NULL) {
            st = sa2_fail_also(err, SA2_ERR_FORMAT,
                               "added token \"%s\": id %d belongs to \"%s\" already",
                               entry->content, (int)entry->id, token->bytes);
            continue;
        }
        char *bytes = memcpy(*pool, entry->content, n + 1);
        *pool += n + 1;
        *token = (sa2_token){.bytes = bytes,
                             .n = n,
                             .added = true,
                             .skipped = entry->special || is_speech(entry->content)};
        t->added.tokens[t->added.n++] = (sa2_added_token){.bytes = bytes, .n = n, .id = entry->id};
    }
    sa2_added_tokens_init(&t->added, t->added.tokens, t->added.n);
    for (size_t i = 1; i < t->added.n; i++) {
        const sa2_added_token *token = &t->added.tokens[i];
        if (strcmp(token[-1].bytes, token->bytes) == 0)
            st = sa2_fail_also(err, SA2_ERR_FORMAT, "added token \"%s\": given with ids %d and %d",
                               token->bytes, (int)token[-1].id, (int)token->id);
    }
    return st;
}

sa2_status sa2_tokenizer_create(sa2_tokenizer **tokenizer, const sa2_tokenizer_source *source,
                                sa2_error *err)
{
    sa2_tokenizer *t = NULL;
    byte_index index = {0};
    char *pool = NULL;
    size_t n_ids = 0;
    size_t pool_bytes = 0;
    if (err != NULL)
        *err = (sa2_error){0}; /* the lines below add up */
    sa2_status st = measure(source, &n_ids, &pool_bytes, err);
    if (st != SA2_OK)
        return st;
    st = allocate(&t, source, n_ids, pool_bytes, &pool, err);
    if (st != SA2_OK)
        return st;
    if (!index_init(&index, t->tokens, source->n_vocab)) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "tokenizer: no memory to index %zu entries",
                      source->n_vocab);
        goto cleanup;
    }
    sa2_status steps[] = {
        add_vocab(t, source, &index, &pool, err),
        add_bytes(t, &index, err),
        add_merges(t, source, &index, err),
        add_added(t, source, &pool, err),
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && st == SA2_OK; i++)
        st = steps[i];
    if (st == SA2_OK)
        *tokenizer = t;

cleanup:
    free(index.slots);
    if (st != SA2_OK)
        sa2_tokenizer_destroy(t);
    return st;
}

void sa2_tokenizer_destroy(sa2_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    sa2_arena arena = tokenizer->arena; /* a copy: the original lies inside */
    sa2_arena_destroy(&arena);
}

/* ---- look-ups ---- */

int32_t sa2_tokenizer_n_ids(const sa2_tokenizer *tokenizer)
{
    return tokenizer->n_ids;
}

bool sa2_tokenizer_token(const sa2_tokenizer *tokenizer, int32_t id, sa2_token *token)
{
    if (id < 0 || id >= tokenizer->n_ids || tokenizer->tokens[id].bytes == NULL)
        return false;
    *token = tokenizer->tokens[id];
    return true;
}

int32_t sa2_tokenizer_find_added(const sa2_tokenizer *tokenizer, const char *content)
{
    size_t n = strlen(content);
    const sa2_added_token *token = sa2_added_tokens_match(&tokenizer->added, content, n);
    return token != NULL && token->n == n ? token->id : -1;
}
