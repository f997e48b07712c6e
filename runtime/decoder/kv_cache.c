#include "runtime/decoder/kv_cache.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/decoder/kv_pages.h"

enum { MAX_PAGES = 1 << 30, MAX_PAGE_SIZE = 4096 };

struct sa2_kv_cache {
    sa2_kv_cache_options options;
    sa2_kv_pages pages;
    sa2_kv_sequence *sequences; /* [max_sequences] */
    bool *is_open;              /* [max_sequences] */
    int32_t *idle;              /* the closed ones, a stack */
    int n_idle;
    unsigned char *hash_input; /* of one page */
    int64_t n_matched_pages, n_copied_pages;
};

/* ---- the hash of a page: of everything up to its end ---- */

/* Of a clip's rows inside one page: where they lie, and which rows of it they are. */
typedef struct audio_part {
    int32_t place, n, row, unused;
    sa2_kv_hash clip;
} audio_part;

sa2_kv_hash sa2_kv_hash_bytes(const void *data, size_t n)
{
    XXH128_hash_t hash = XXH3_128bits(data, n);
    return (sa2_kv_hash){.low = hash.low64, .high = hash.high64};
}

/* Every clip in a page has a position of it or more. */
static size_t hash_input_bytes(const sa2_kv_cache_options *o)
{
    return sizeof(sa2_kv_hash) + (size_t)o->page_size * (sizeof(int32_t) + sizeof(audio_part));
}

/* What stands for the content before the first page. */
static sa2_kv_hash root(const sa2_kv_content *content)
{
    return (sa2_kv_hash){.low = content->salt};
}

/* The hash of pages 0 to `index` of the content, given that of the pages before. */
static sa2_kv_hash chain(const sa2_kv_cache *cache, const sa2_kv_content *content, int index,
                         sa2_kv_hash before)
{
    int size = cache->options.page_size, first = index * size;
    unsigned char *end = cache->hash_input;
    memcpy(end, &before, sizeof before);
    end += sizeof before;
    memcpy(end, content->ids + first, (size_t)size * sizeof(int32_t));
    end += (size_t)size * sizeof(int32_t);
    for (int i = 0; i < content->n_audio; i++) {
        sa2_kv_audio a = content->audio[i];
        int from = a.first > first ? a.first : first;
        int to = a.first + a.n < first + size ? a.first + a.n : first + size;
        if (from >= to)
            continue;
        audio_part part = {
            .place = from - first, .n = to - from, .row = from - a.first, .clip = a.hash};
        memcpy(end, &part, sizeof part);
        end += sizeof part;
    }
    return sa2_kv_hash_bytes(cache->hash_input, (size_t)(end - cache->hash_input));
}

/* ---- create ---- */

static int pages_for(const sa2_kv_cache_options *o, int positions)
{
    return positions / o->page_size + (positions % o->page_size != 0);
}

/* Positions in the block tables of all sequences together. */
static size_t table_size(const sa2_kv_cache_options *o)
{
    return (size_t)o->max_sequences * (size_t)pages_for(o, o->max_positions);
}

size_t sa2_kv_cache_bytes(const sa2_kv_cache_options *o)
{
    size_t sequences = (size_t)o->max_sequences;
    return sa2_arena_round(sizeof(sa2_kv_cache)) + sa2_kv_pages_bytes(o->n_pages, o->page_size) +
           sa2_arena_round(sequences * sizeof(sa2_kv_sequence)) +
           sa2_arena_round(sequences * sizeof(bool)) +
           sa2_arena_round(sequences * sizeof(int32_t)) +
           sa2_arena_round(table_size(o) * sizeof(int32_t)) + sa2_arena_round(hash_input_bytes(o));
}

static sa2_status check_options(const sa2_kv_cache_options *o, sa2_error *err)
{
    sa2_status st = SA2_OK;
    if (o->n_pages < 1 || o->n_pages > MAX_PAGES)
        st = sa2_fail_also(err, SA2_ERR_ARG, "kv cache n_pages: 1 to %d expected, %d found",
                           MAX_PAGES, o->n_pages);
    if (o->page_size < 16 || o->page_size > MAX_PAGE_SIZE || o->page_size % 16 != 0)
        st = sa2_fail_also(err, SA2_ERR_ARG,
                           "kv cache page_size: a multiple of 16 up to %d expected, %d found",
                           MAX_PAGE_SIZE, o->page_size);
    if (o->max_sequences < 1)
        st = sa2_fail_also(err, SA2_ERR_ARG, "kv cache max_sequences: 1 or more expected, %d found",
                           o->max_sequences);
    if (o->max_positions < 1 || o->max_positions > MAX_PAGES)
        st = sa2_fail_also(err, SA2_ERR_ARG, "kv cache max_positions: 1 to %d expected, %d found",
                           MAX_PAGES, o->max_positions);
    return st;
}

sa2_status sa2_kv_cache_create(sa2_kv_cache **cache, const sa2_kv_cache_options *options,
                               sa2_arena *arena, sa2_error *err)
{
    *cache = NULL;
    sa2_status st = check_options(options, err);
    if (st != SA2_OK)
        return st;

    size_t mark = sa2_arena_mark(arena), n_sequences = (size_t)options->max_sequences;
    sa2_kv_pages pages = {0};
    sa2_kv_cache *made = sa2_arena_take(arena, sizeof *made);
    bool fits = sa2_kv_pages_init(&pages, options->n_pages, options->page_size, arena);
    sa2_kv_sequence *sequences = sa2_arena_take(arena, n_sequences * sizeof *sequences);
    bool *is_open = sa2_arena_take(arena, n_sequences * sizeof *is_open);
    int32_t *idle = sa2_arena_take(arena, n_sequences * sizeof *idle);
    int32_t *tables = sa2_arena_take(arena, table_size(options) * sizeof *tables);
    unsigned char *hash_input = sa2_arena_take(arena, hash_input_bytes(options));
    if (made == NULL || !fits || sequences == NULL || is_open == NULL || idle == NULL ||
        tables == NULL || hash_input == NULL) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "kv cache: %zu bytes of memory expected, %zu are left",
                        sa2_kv_cache_bytes(options), arena->bytes - arena->used);
    }

    *made = (sa2_kv_cache){.options = *options,
                           .pages = pages,
                           .sequences = sequences,
                           .is_open = is_open,
                           .idle = idle,
                           .n_idle = options->max_sequences,
                           .hash_input = hash_input};
    int max_pages = pages_for(options, options->max_positions);
    for (int i = 0; i < options->max_sequences; i++) {
        sequences[i] = (sa2_kv_sequence){.pages = tables + (size_t)i * (size_t)max_pages};
        is_open[i] = false;
        idle[i] = options->max_sequences - 1 - i; /* so that 0 opens first */
    }
    *cache = made;
    return SA2_OK;
}

/* ---- sequences ---- */

static bool is_open(const sa2_kv_cache *cache, const sa2_kv_sequence *sequence)
{
    return cache->is_open[sequence - cache->sequences];
}

sa2_kv_sequence *sa2_kv_open(sa2_kv_cache *cache)
{
    if (cache->n_idle == 0)
        return NULL;
    int i = cache->idle[--cache->n_idle];
    cache->is_open[i] = true;
    cache->sequences[i] = (sa2_kv_sequence){.pages = cache->sequences[i].pages};
    return &cache->sequences[i];
}

void sa2_kv_close(sa2_kv_cache *cache, sa2_kv_sequence *sequence)
{
    assert(is_open(cache, sequence));
    /* Last page first: a prefix serves more requests than what follows it, so it is evicted later. */
    for (int i = sequence->n_pages - 1; i >= 0; i--)
        sa2_kv_pages_release(&cache->pages, sequence->pages[i]);
    int slot = (int)(sequence - cache->sequences);
    cache->is_open[slot] = false;
    cache->idle[cache->n_idle++] = slot;
}

int sa2_kv_pages_available(const sa2_kv_cache *cache)
{
    return cache->pages.n_free + cache->pages.n_cached;
}

/* Whether writing n positions changes what others see. */
static bool must_copy(const sa2_kv_cache *cache, const sa2_kv_sequence *s, int n)
{
    return n > 0 && s->n_positions % cache->options.page_size != 0 &&
           cache->pages.pages[s->pages[s->n_pages - 1]].references > 1;
}

int sa2_kv_pages_needed(const sa2_kv_cache *cache, const sa2_kv_sequence *sequence, int n)
{
    return pages_for(&cache->options, sequence->n_positions + n) - sequence->n_pages +
           must_copy(cache, sequence, n);
}

sa2_status sa2_kv_grow(sa2_kv_cache *cache, sa2_kv_sequence *sequence, int n, sa2_page_copy *copy,
                       sa2_error *err)
{
    assert(is_open(cache, sequence) && n >= 0);
    *copy = (sa2_page_copy){.from = SA2_KV_NO_PAGE, .to = SA2_KV_NO_PAGE};
    if (n > cache->options.max_positions - sequence->n_positions)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "kv cache: %d positions at most, %d and %d more asked for",
                        cache->options.max_positions, sequence->n_positions, n);
    int needed = sa2_kv_pages_needed(cache, sequence, n);
    if (needed > sa2_kv_pages_available(cache))
        return sa2_fail(err, SA2_ERR_NOMEM, "kv cache: %d pages needed, %d of %d can be had",
                        needed, sa2_kv_pages_available(cache), cache->options.n_pages);

    if (must_copy(cache, sequence, n)) {
        int32_t *last = &sequence->pages[sequence->n_pages - 1];
        *copy = (sa2_page_copy){.from = *last, .to = sa2_kv_pages_take(&cache->pages)};
        sa2_kv_pages_release(&cache->pages, copy->from);
        *last = copy->to;
        cache->n_copied_pages++;
        needed--;
    }
    for (int i = 0; i < needed; i++)
        sequence->pages[sequence->n_pages++] = sa2_kv_pages_take(&cache->pages);
    sequence->n_positions += n;
    return SA2_OK;
}

sa2_kv_sequence *sa2_kv_fork(sa2_kv_cache *cache, const sa2_kv_sequence *parent)
{
    assert(is_open(cache, parent));
    sa2_kv_sequence *child = sa2_kv_open(cache);
    if (child == NULL)
        return NULL;
    int32_t *pages = child->pages;
    *child = *parent;
    child->pages = pages;
    for (int i = 0; i < parent->n_pages; i++) {
        pages[i] = parent->pages[i];
        sa2_kv_pages_share(&cache->pages, pages[i]);
    }
    return child;
}

/* ---- prefixes ---- */

int sa2_kv_match(sa2_kv_cache *cache, sa2_kv_sequence *sequence, const sa2_kv_content *content)
{
    assert(is_open(cache, sequence) && sequence->n_pages == 0);
    int size = cache->options.page_size;
    int longest = content->n > 0 ? (content->n - 1) / size : 0;
    assert(content->n <= cache->options.max_positions);
    sa2_kv_hash hash = root(content);
    while (sequence->n_pages < longest) {
        int index = sequence->n_pages;
        hash = chain(cache, content, index, hash);
        int p = sa2_kv_pages_find(&cache->pages, hash);
        if (p == SA2_KV_NO_PAGE ||
            memcmp(sa2_kv_pages_ids(&cache->pages, p), content->ids + (size_t)index * (size_t)size,
                   (size_t)size * sizeof(int32_t)) != 0)
            break;
        sa2_kv_pages_share(&cache->pages, p);
        sequence->pages[sequence->n_pages++] = p;
        sequence->hash = hash;
    }
    sequence->n_hashed = sequence->n_pages;
    sequence->n_positions = sequence->n_matched = sequence->n_pages * size;
    cache->n_matched_pages += sequence->n_pages;
    return sequence->n_matched;
}

void sa2_kv_register(sa2_kv_cache *cache, sa2_kv_sequence *sequence, const sa2_kv_content *content,
                     int n_written)
{
    assert(is_open(cache, sequence));
    assert(n_written <= sequence->n_positions && n_written <= content->n);
    int size = cache->options.page_size;
    if (sequence->n_hashed == 0)
        sequence->hash = root(content);
    for (int i = sequence->n_hashed; i < n_written / size; i++) {
        int p = sequence->pages[i];
        sequence->hash = chain(cache, content, i, sequence->hash);
        sequence->n_hashed = i + 1;
        /* Two sequences may have computed the same page side by side: the first one stands. */
        if (!cache->pages.pages[p].registered &&
            sa2_kv_pages_find(&cache->pages, sequence->hash) == SA2_KV_NO_PAGE)
            sa2_kv_pages_add_key(&cache->pages, p, sequence->hash,
                                 content->ids + (size_t)i * (size_t)size);
    }
}

/* ---- figures and checks ---- */

sa2_kv_stats sa2_kv_cache_stats(const sa2_kv_cache *cache)
{
    int n_pages = cache->options.n_pages;
    return (sa2_kv_stats){
        .n_pages = n_pages,
        .n_used = n_pages - sa2_kv_pages_available(cache),
        .n_cached = cache->pages.n_cached,
        .n_free = cache->pages.n_free,
        .n_sequences = cache->options.max_sequences - cache->n_idle,
        .n_matched_pages = cache->n_matched_pages,
        .n_evicted_pages = cache->pages.n_evicted,
        .n_copied_pages = cache->n_copied_pages,
    };
}

/* Block tables that have page p. */
static int count_references(const sa2_kv_cache *cache, int p)
{
    int n = 0;
    for (int i = 0; i < cache->options.max_sequences; i++) {
        for (int j = 0; cache->is_open[i] && j < cache->sequences[i].n_pages; j++)
            n += cache->sequences[i].pages[j] == p;
    }
    return n;
}

sa2_status sa2_kv_cache_check(const sa2_kv_cache *cache, sa2_error *err)
{
    for (int p = 0; p < cache->options.n_pages; p++) {
        int references = count_references(cache, p);
        if (references != cache->pages.pages[p].references)
            return sa2_fail(err, SA2_ERR_ARG, "kv cache page %d: %d references counted, %d kept", p,
                            references, cache->pages.pages[p].references);
    }
    for (int i = 0; i < cache->options.max_sequences; i++) {
        const sa2_kv_sequence *s = &cache->sequences[i];
        if (cache->is_open[i] && s->n_pages != pages_for(&cache->options, s->n_positions))
            return sa2_fail(err, SA2_ERR_ARG, "kv cache sequence %d: %d positions in %d pages", i,
                            s->n_positions, s->n_pages);
    }
    return sa2_kv_pages_check(&cache->pages, err);
}
