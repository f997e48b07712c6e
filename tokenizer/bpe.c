#include "tokenizer/bpe.h"

#include <assert.h>
#include <stdlib.h>

#include "tokenizer/tokenizer_tables.h"

static const uint32_t NO_MERGE = UINT32_MAX;

/* A token of the sequence so far, in a list over the bytes it started from. */
typedef struct sa2_bpe_symbol {
    int32_t id;
    uint32_t rank;  /* of the merge with the next symbol, or NO_MERGE */
    int32_t result; /* of that merge */
    int32_t previous;
    int32_t next; /* -1 at the ends */
} sa2_bpe_symbol;

void sa2_bpe_work_free(sa2_bpe_work *work)
{
    free(work->symbols);
    free(work->heap);
    *work = (sa2_bpe_work){0};
}

static bool reserve(sa2_bpe_work *work, size_t n)
{
    if (n <= work->room)
        return true;
    size_t room = n < 256 ? 256 : n;
    sa2_bpe_work_free(work);
    work->symbols = malloc(room * sizeof *work->symbols);
    work->heap = malloc(2 * room * sizeof *work->heap);
    if (work->symbols == NULL || work->heap == NULL) {
        sa2_bpe_work_free(work);
        return false;
    }
    work->room = room;
    return true;
}

static void heap_push(sa2_bpe_work *work, uint64_t entry)
{
    size_t i = work->n_heap++;
    while (i > 0 && work->heap[(i - 1) / 2] > entry) {
        work->heap[i] = work->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    work->heap[i] = entry;
}

static uint64_t heap_pop(sa2_bpe_work *work)
{
    uint64_t least = work->heap[0];
    uint64_t last = work->heap[--work->n_heap];
    size_t n = work->n_heap;
    size_t i = 0;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && work->heap[child + 1] < work->heap[child])
            child++;
        if (work->heap[child] >= last)
            break;
        work->heap[i] = work->heap[child];
        i = child;
    }
    work->heap[i] = last;
    return least;
}

/* Looks up the pair that begins at symbol i and queues it when it merges. */
static void look_at_pair(sa2_bpe_work *work, const sa2_merge_table *merges, int32_t i)
{
    sa2_bpe_symbol *symbol = &work->symbols[i];
    const sa2_merge *merge = NULL;
    if (symbol->next >= 0)
        merge = sa2_merge_find(merges, symbol->id, work->symbols[symbol->next].id);
    symbol->rank = merge != NULL ? merge->rank : NO_MERGE;
    if (merge != NULL) {
        symbol->result = merge->result;
        heap_push(work, (uint64_t)merge->rank << 32 | (uint32_t)i);
    }
}

static void merge_pair(sa2_bpe_work *work, const sa2_merge_table *merges, int32_t i)
{
    sa2_bpe_symbol *left = &work->symbols[i];
    sa2_bpe_symbol *right = &work->symbols[left->next];
    left->id = left->result;
    left->next = right->next;
    right->rank = NO_MERGE; /* its own entry in the heap is void */
    if (left->next >= 0)
        work->symbols[left->next].previous = i;
    look_at_pair(work, merges, i);
    if (left->previous >= 0)
        look_at_pair(work, merges, left->previous);
}

bool sa2_bpe_merge(sa2_bpe_work *work, const sa2_tokenizer *tokenizer, const char *bytes, size_t n,
                   sa2_ids *ids)
{
    assert(n <= SA2_BPE_MAX_BYTES);
    if (n == 0)
        return true;
    if (!reserve(work, n))
        return false;
    int32_t last = (int32_t)n - 1;
    for (int32_t i = 0; i <= last; i++) {
        work->symbols[i] = (sa2_bpe_symbol){.id = tokenizer->byte_ids[(unsigned char)bytes[i]],
                                            .previous = i - 1,
                                            .next = i < last ? i + 1 : -1};
    }
    /* Each merge takes one entry out and puts at most two in, so the heap stays below 2 n. */
    work->n_heap = 0;
    for (int32_t i = 0; i <= last; i++)
        look_at_pair(work, &tokenizer->merges, i);
    while (work->n_heap > 0) {
        uint64_t entry = heap_pop(work);
        int32_t i = (int32_t)(uint32_t)entry;
        if (work->symbols[i].rank == (uint32_t)(entry >> 32)) /* else a neighbour changed since */
            merge_pair(work, &tokenizer->merges, i);
    }
    for (int32_t i = 0; i >= 0; i = work->symbols[i].next)
        sa2_ids_append(ids, work->symbols[i].id);
    return !ids->failed;
}
