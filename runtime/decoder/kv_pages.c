#include "runtime/decoder/kv_pages.h"

#include <assert.h>
#include <string.h>

/* ---- lists: rings through a head of their own, oldest first ---- */

static int free_head(const sa2_kv_pages *pages)
{
    return pages->n_pages;
}

static int cached_head(const sa2_kv_pages *pages)
{
    return pages->n_pages + 1;
}

static void list_init(sa2_kv_page *page, int head)
{
    page[head] = (sa2_kv_page){.before = head, .after = head};
}

static void list_append(sa2_kv_page *page, int head, int p)
{
    page[p].before = page[head].before;
    page[p].after = head;
    page[page[head].before].after = p;
    page[head].before = p;
}

static void list_remove(sa2_kv_page *page, int p)
{
    page[page[p].before].after = page[p].after;
    page[page[p].after].before = page[p].before;
}

/* ---- memory ---- */

/* The power of two above n_pages, so that a bucket holds less than one page in the mean. */
static int buckets_for(int n_pages)
{
    int n = 1;
    while (n <= n_pages)
        n *= 2;
    return n;
}

size_t sa2_kv_pages_bytes(int n_pages, int page_size)
{
    size_t n = (size_t)n_pages;
    return sa2_arena_round((n + 2) * sizeof(sa2_kv_page)) +
           sa2_arena_round(n * (size_t)page_size * sizeof(int32_t)) +
           sa2_arena_round((size_t)buckets_for(n_pages) * sizeof(int32_t));
}

bool sa2_kv_pages_init(sa2_kv_pages *pages, int n_pages, int page_size, sa2_arena *arena)
{
    size_t n = (size_t)n_pages;
    int n_buckets = buckets_for(n_pages);
    sa2_kv_page *page = sa2_arena_take(arena, (n + 2) * sizeof *page);
    int32_t *ids = sa2_arena_take(arena, n * (size_t)page_size * sizeof *ids);
    int32_t *buckets = sa2_arena_take(arena, (size_t)n_buckets * sizeof *buckets);
    if (page == NULL || ids == NULL || buckets == NULL)
        return false;
    *pages = (sa2_kv_pages){.n_pages = n_pages,
                            .page_size = page_size,
                            .pages = page,
                            .ids = ids,
                            .buckets = buckets,
                            .n_buckets = n_buckets,
                            .n_free = n_pages};
    list_init(page, free_head(pages));
    list_init(page, cached_head(pages));
    for (int p = 0; p < n_pages; p++) {
        page[p] = (sa2_kv_page){0};
        list_append(page, free_head(pages), p);
    }
    for (int i = 0; i < n_buckets; i++)
        buckets[i] = SA2_KV_NO_PAGE;
    return true;
}

/* ---- registered pages ---- */

static int32_t *bucket_of(const sa2_kv_pages *pages, sa2_kv_hash key)
{
    return &pages->buckets[key.low & (uint64_t)(pages->n_buckets - 1)];
}

static bool same_hash(sa2_kv_hash a, sa2_kv_hash b)
{
    return a.low == b.low && a.high == b.high;
}

int sa2_kv_pages_find(const sa2_kv_pages *pages, sa2_kv_hash key)
{
    int p = *bucket_of(pages, key);
    while (p != SA2_KV_NO_PAGE && !same_hash(pages->pages[p].key, key))
        p = pages->pages[p].bucket_next;
    return p;
}

const int32_t *sa2_kv_pages_ids(const sa2_kv_pages *pages, int p)
{
    return pages->ids + (size_t)p * (size_t)pages->page_size;
}

void sa2_kv_pages_add_key(sa2_kv_pages *pages, int p, sa2_kv_hash key, const int32_t *ids)
{
    sa2_kv_page *it = &pages->pages[p];
    assert(!it->registered && sa2_kv_pages_find(pages, key) == SA2_KV_NO_PAGE);
    size_t size = (size_t)pages->page_size;
    memcpy(pages->ids + (size_t)p * size, ids, size * sizeof *ids);
    it->key = key;
    it->registered = true;
    it->bucket_next = *bucket_of(pages, key);
    *bucket_of(pages, key) = p;
}

static void remove_key(sa2_kv_pages *pages, int p)
{
    int32_t *link = bucket_of(pages, pages->pages[p].key);
    while (*link != p)
        link = &pages->pages[*link].bucket_next;
    *link = pages->pages[p].bucket_next;
    pages->pages[p].registered = false;
}

/* ---- states ---- */

int sa2_kv_pages_take(sa2_kv_pages *pages)
{
    int p;
    if (pages->n_free > 0) {
        p = pages->pages[free_head(pages)].after;
        pages->n_free--;
    } else {
        assert(pages->n_cached > 0);
        p = pages->pages[cached_head(pages)].after;
        remove_key(pages, p);
        pages->n_cached--;
        pages->n_evicted++;
    }
    list_remove(pages->pages, p);
    pages->pages[p].references = 1;
    return p;
}

void sa2_kv_pages_share(sa2_kv_pages *pages, int p)
{
    sa2_kv_page *it = &pages->pages[p];
    assert(it->references > 0 || it->registered);
    if (it->references++ == 0) {
        list_remove(pages->pages, p);
        pages->n_cached--;
    }
}

void sa2_kv_pages_release(sa2_kv_pages *pages, int p)
{
    sa2_kv_page *it = &pages->pages[p];
    assert(it->references > 0);
    if (--it->references > 0)
        return;
    if (it->registered) {
        list_append(pages->pages, cached_head(pages), p);
        pages->n_cached++;
    } else {
        list_append(pages->pages, free_head(pages), p);
        pages->n_free++;
    }
}

/* Pages in a list, none of them used, all of them registered or none; -1 when that does not hold. */
static int count_list(const sa2_kv_pages *pages, int head, bool registered)
{
    int n = 0;
    for (int p = pages->pages[head].after; p != head; p = pages->pages[p].after) {
        const sa2_kv_page *it = &pages->pages[p];
        if (++n > pages->n_pages || it->references != 0 || it->registered != registered ||
            pages->pages[it->after].before != p)
            return -1;
    }
    return n;
}

sa2_status sa2_kv_pages_check(const sa2_kv_pages *pages, sa2_error *err)
{
    int n_used = 0;
    for (int p = 0; p < pages->n_pages; p++) {
        const sa2_kv_page *it = &pages->pages[p];
        n_used += it->references > 0;
        if (it->registered && sa2_kv_pages_find(pages, it->key) != p)
            return sa2_fail(err, SA2_ERR_ARG, "kv cache page %d: registered, but not found", p);
    }
    int n_free = count_list(pages, free_head(pages), false);
    int n_cached = count_list(pages, cached_head(pages), true);
    if (n_free != pages->n_free || n_cached != pages->n_cached ||
        n_used + n_free + n_cached != pages->n_pages)
        return sa2_fail(err, SA2_ERR_ARG,
                        "kv cache: of %d pages %d used, %d cached (%d kept), %d free (%d kept)",
                        pages->n_pages, n_used, n_cached, pages->n_cached, n_free, pages->n_free);
    return SA2_OK;
}
