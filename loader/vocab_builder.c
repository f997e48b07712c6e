#include "loader/vocab_builder.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"

void sa2_vocab_complain(sa2_vocab_builder *b, sa2_status st, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    sa2_fail_also(b->err, st, "%s", line);
    if (b->status == SA2_OK)
        b->status = st;
}

/* ---- growing arrays ---- */

/* The array with room for one more of `size` bytes; NULL after a complaint, the old one is kept. */
static void *with_room(sa2_vocab_builder *b, const char *origin, void *array, int n, int *room,
                       size_t size)
{
    if (n >= SA2_LIMIT_VOCAB) {
        sa2_vocab_complain(b, SA2_ERR_LIMIT, "%s: more than %d entries", origin, SA2_LIMIT_VOCAB);
        return NULL;
    }
    if (n < *room)
        return array;
    int larger = *room > 0 ? 2 * *room : 1024;
    void *grown = realloc(array, (size_t)larger * size);
    if (grown == NULL)
        sa2_vocab_complain(b, SA2_ERR_NOMEM, "%s: no memory", origin);
    else
        *room = larger;
    return grown;
}

static const char *copy(sa2_vocab_builder *b, const char *text, size_t n)
{
    const char *copied = sa2_text_pool_copy(&b->vocab.text, text, n);
    if (copied == NULL)
        sa2_vocab_complain(b, SA2_ERR_NOMEM, "no memory for a vocabulary");
    return copied;
}

const char *sa2_vocab_text(sa2_vocab_builder *b, const char *text)
{
    return copy(b, text, strlen(text));
}

static bool is_id(sa2_vocab_builder *b, const char *origin, const char *what, int64_t id)
{
    if (id >= 0 && id < SA2_LIMIT_VOCAB)
        return true;
    sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: %s: an id of 0 to %d expected, %" PRId64 " found",
                       origin, what, SA2_LIMIT_VOCAB - 1, id);
    return false;
}

/* ---- adding ---- */

void sa2_vocab_add_entry(sa2_vocab_builder *b, const char *origin, const char *symbols, int64_t id)
{
    if (!is_id(b, origin, symbols, id))
        return;
    sa2_vocab_entry *entries =
        with_room(b, origin, b->vocab.vocab, b->vocab.n_vocab, &b->vocab_room, sizeof *entries);
    if (entries == NULL)
        return;
    b->vocab.vocab = entries;
    const char *text = copy(b, symbols, strlen(symbols));
    if (text != NULL)
        entries[b->vocab.n_vocab++] = (sa2_vocab_entry){.symbols = text, .id = (int32_t)id};
}

void sa2_vocab_add_merge(sa2_vocab_builder *b, const char *origin, const char *left, size_t n_left,
                         const char *right, size_t n_right)
{
    sa2_merge_entry *merges =
        with_room(b, origin, b->vocab.merges, b->vocab.n_merges, &b->merges_room, sizeof *merges);
    if (merges == NULL)
        return;
    b->vocab.merges = merges;
    sa2_merge_entry merge = {copy(b, left, n_left), copy(b, right, n_right)};
    if (merge.left != NULL && merge.right != NULL)
        merges[b->vocab.n_merges++] = merge;
}

void sa2_vocab_next_source(sa2_vocab_builder *b)
{
    b->source++;
}

void sa2_vocab_add_added(sa2_vocab_builder *b, const char *origin, const char *content, int64_t id,
                         bool special)
{
    int32_t twin = sa2_name_table_find(&b->contents, content);
    if (twin >= 0) {
        if (b->added[twin].source == b->source)
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: added token %s twice", origin, content);
        return;
    }
    if (!is_id(b, origin, content, id))
        return;
    sa2_vocab_candidate *added =
        with_room(b, origin, b->added, b->n_added, &b->added_room, sizeof *added);
    if (added == NULL)
        return;
    b->added = added;
    const char *text = copy(b, content, strlen(content));
    if (text == NULL || !sa2_name_table_put(&b->contents, text, b->n_added)) {
        sa2_vocab_complain(b, SA2_ERR_NOMEM, "%s: no memory", origin);
        return;
    }
    added[b->n_added++] = (sa2_vocab_candidate){
        .token = {.id = (int32_t)id, .content = text, .special = special}, .source = b->source};
}

void sa2_vocab_mark_special(sa2_vocab_builder *b, const char *content)
{
    int32_t at = sa2_name_table_find(&b->contents, content);
    if (at >= 0)
        b->added[at].token.special = true;
}

/* ---- finishing ---- */

static int entry_by_id(const void *a, const void *b)
{
    int32_t x = ((const sa2_vocab_entry *)a)->id, y = ((const sa2_vocab_entry *)b)->id;
    return x < y ? -1 : x > y;
}

static int candidate_by_id(const void *a, const void *b)
{
    const sa2_vocab_candidate *x = a, *y = b;
    if (x->token.id != y->token.id)
        return x->token.id < y->token.id ? -1 : 1;
    return x->source < y->source ? -1 : x->source > y->source;
}

static void finish_entries(sa2_vocab_builder *b)
{
    sa2_vocab_entry *entries = b->vocab.vocab;
    qsort(entries, (size_t)b->vocab.n_vocab, sizeof *entries, entry_by_id);
    for (int i = 1; i < b->vocab.n_vocab; i++)
        if (entries[i].id == entries[i - 1].id)
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "id %" PRId32 ": entry %s and entry %s",
                               entries[i].id, entries[i - 1].symbols, entries[i].symbols);
}

static void check_merge(sa2_vocab_builder *b, const sa2_name_table *entries, int rank)
{
    char result[4096];
    const sa2_merge_entry *merge = &b->vocab.merges[rank];
    int n = snprintf(result, sizeof result, "%s%s", merge->left, merge->right);
    const char *parts[] = {merge->left, merge->right, result};
    if (n < 0 || (size_t)n >= sizeof result) {
        sa2_vocab_complain(b, SA2_ERR_LIMIT, "merge %d: a result of %d bytes, at most %zu expected",
                           rank, n, sizeof result - 1);
        return;
    }
    for (size_t i = 0; i < 3; i++)
        if (sa2_name_table_find(entries, parts[i]) < 0)
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "merge %d (%s %s): %s is no entry", rank,
                               merge->left, merge->right, parts[i]);
}

static void finish_merges(sa2_vocab_builder *b)
{
    sa2_name_table entries = {0};
    for (int i = 0; i < b->vocab.n_vocab; i++) {
        if (!sa2_name_table_put(&entries, b->vocab.vocab[i].symbols, i)) {
            sa2_vocab_complain(b, SA2_ERR_NOMEM, "no memory for a vocabulary");
            break;
        }
    }
    for (int rank = 0; b->status != SA2_ERR_NOMEM && rank < b->vocab.n_merges; rank++)
        check_merge(b, &entries, rank);
    sa2_name_table_destroy(&entries);
}

/* An added token may repeat an entry, but not stand in the place of another one. */
static void check_place(sa2_vocab_builder *b, const sa2_added_entry *token)
{
    sa2_vocab_entry key = {.id = token->id};
    const sa2_vocab_entry *entry =
        bsearch(&key, b->vocab.vocab, (size_t)b->vocab.n_vocab, sizeof key, entry_by_id);
    if (entry != NULL && strcmp(entry->symbols, token->content) != 0)
        sa2_vocab_complain(b, SA2_ERR_FORMAT, "id %" PRId32 ": entry %s and added token %s",
                           token->id, entry->symbols, token->content);
}

static void finish_added(sa2_vocab_builder *b)
{
    if (b->n_added == 0)
        return;
    qsort(b->added, (size_t)b->n_added, sizeof *b->added, candidate_by_id);
    b->vocab.added = calloc((size_t)b->n_added, sizeof *b->vocab.added);
    if (b->vocab.added == NULL) {
        sa2_vocab_complain(b, SA2_ERR_NOMEM, "no memory for %d added tokens", b->n_added);
        return;
    }
    for (int i = 0; i < b->n_added; i++) {
        const sa2_vocab_candidate *now = &b->added[i], *before = &b->added[i > 0 ? i - 1 : 0];
        if (i > 0 && now->token.id == before->token.id) {
            if (now->source == before->source)
                sa2_vocab_complain(b, SA2_ERR_FORMAT,
                                   "id %" PRId32 ": added token %s and added token %s",
                                   now->token.id, before->token.content, now->token.content);
            continue;
        }
        check_place(b, &now->token);
        b->vocab.added[b->vocab.n_added++] = now->token;
    }
}

sa2_status sa2_vocab_builder_finish(sa2_vocab_builder *b, sa2_vocab_file *vocab)
{
    if (b->status == SA2_OK && b->vocab.n_vocab == 0)
        sa2_vocab_complain(b, SA2_ERR_FORMAT, "the vocabulary has no entries");
    if (b->status == SA2_OK) {
        finish_entries(b);
        finish_merges(b);
        finish_added(b);
    }
    if (b->status == SA2_OK) {
        *vocab = b->vocab;
        b->vocab = (sa2_vocab_file){0};
    }
    return b->status;
}

void sa2_vocab_builder_destroy(sa2_vocab_builder *b)
{
    sa2_vocab_file_destroy(&b->vocab);
    sa2_name_table_destroy(&b->contents);
    free(b->added);
    *b = (sa2_vocab_builder){0};
}
