/* kv_pages.h - the pages under a paged cache: which are used, cached or free, and which are known by
 * the hash of their content. Only kv_cache.c stands on it; states and sharing are explained there.
 */
#ifndef SA2_RUNTIME_DECODER_KV_PAGES_H
#define SA2_RUNTIME_DECODER_KV_PAGES_H

#include "runtime/decoder/kv_cache.h"

enum { SA2_KV_NO_PAGE = -1 };

typedef struct sa2_kv_page {
    int32_t references;    /* block tables that it is in */
    int32_t before, after; /* in the list of free or of cached pages */
    int32_t bucket_next;   /* in its bucket, when registered */
    bool registered;
    sa2_kv_hash key; /* of everything up to its end, when registered */
} sa2_kv_page;

typedef struct sa2_kv_pages {
    int n_pages, page_size;
    sa2_kv_page *pages; /* [n_pages + 2]: the last two are the heads of the lists */
    int32_t *ids;       /* [n_pages, page_size], of registered pages */
    int32_t *buckets;   /* [n_buckets], first page of each; a power of two */
    int n_buckets;
    int n_free, n_cached;
    int64_t n_evicted; /* since init */
} sa2_kv_pages;

size_t sa2_kv_pages_bytes(int n_pages, int page_size);

/* All pages free. False when the arena has no room. */
bool sa2_kv_pages_init(sa2_kv_pages *pages, int n_pages, int page_size, sa2_arena *arena);

/* A page for new content, with one reference: a free one, else the cached one that is longest unused.
 * There must be one. */
int sa2_kv_pages_take(sa2_kv_pages *pages);

/* One more, one less block table has page p. */
void sa2_kv_pages_share(sa2_kv_pages *pages, int p);
void sa2_kv_pages_release(sa2_kv_pages *pages, int p);

/* The page registered under the key, or SA2_KV_NO_PAGE. */
int sa2_kv_pages_find(const sa2_kv_pages *pages, sa2_kv_hash key);

/* Registers p, which is not, under a key that is not known; ids [page_size]. */
void sa2_kv_pages_add_key(sa2_kv_pages *pages, int p, sa2_kv_hash key, const int32_t *ids);

const int32_t *sa2_kv_pages_ids(const sa2_kv_pages *pages, int p);

/* Lists and hash table are whole, and every page is in one state. Errors: SA2_ERR_ARG. */
sa2_status sa2_kv_pages_check(const sa2_kv_pages *pages, sa2_error *err);

#endif
