/* ops_attention.c - the part of ops.h that is attention: checks of shapes and calls of the backend.
 */
#include "kernels/ops_check.h"

int64_t sa2_attention_keys(const sa2_attention_args *a, int i)
{
    int first = a->keys.offsets[i], end = a->keys.offsets[i + 1];
    if (a->segments == NULL)
        return end - first;
    int64_t n = 0;
    for (int j = first; j < end; j++)
        n += a->segments[j].k.shape[0];
    return n;
}

/* Can k and v, [., heads, d], go with q? */
static bool are_keys(const sa2_tensor *k, const sa2_tensor *v, const sa2_tensor *q)
{
    return k->ndim == 3 && sa2_tensor_same_shape(k, v) && k->dtype == q->dtype &&
           v->dtype == q->dtype && k->shape[1] == q->shape[1] && k->shape[2] == q->shape[2];
}

static const char *judge_keys(const sa2_attention_args *a)
{
    if (a->segments == NULL) {
        if (!are_keys(&a->k, &a->v, &a->q))
            return "y, q [rows, heads, d] and k, v [keys, heads, d] of one dtype expected";
        return are_sequences(a->keys, a->k.shape[0]) ? NULL : "offsets do not cover the keys";
    }
    if (!absent(&a->k) || !absent(&a->v))
        return "keys are in k and v, or in segments, not in both";
    if (a->keys.offsets == NULL || a->keys.n < 1 ||
        !are_sequences(a->keys, a->keys.offsets[a->keys.n]))
        return "offsets do not cover the segments";
    for (int j = 0; j < a->keys.offsets[a->keys.n]; j++)
        if (!are_keys(&a->segments[j].k, &a->segments[j].v, &a->q))
            return "segments k, v [keys, heads, d] in the dtype of q expected";
    return NULL;
}

static const char *judge_distances(const sa2_attention_args *a)
{
    bool relative = !absent(&a->r);
    if (absent(&a->u) == relative || absent(&a->w) == relative ||
        (relative && a->first_position == NULL))
        return "u, w, r and first_position come together";
    if (!relative)
        return NULL;
    if (a->u.dtype != SA2_F32 || a->w.dtype != SA2_F32 || a->u.ndim != 2 || a->r.ndim != 3 ||
        !sa2_tensor_same_shape(&a->u, &a->w) || a->r.dtype != a->q.dtype ||
        a->r.shape[0] % 2 == 0 || a->u.shape[0] != a->q.shape[1] ||
        a->u.shape[1] != a->q.shape[2] || a->r.shape[1] != a->q.shape[1] ||
        a->r.shape[2] != a->q.shape[2])
        return "u, w f32 [heads, d] and r [2 reach - 1, heads, d] expected";
    int64_t reach = (a->r.shape[0] + 1) / 2;
    for (int i = 0; i < a->queries.n; i++) {
        int64_t n_queries = a->queries.offsets[i + 1] - a->queries.offsets[i];
        if (a->first_position[i] < 0 || a->first_position[i] + n_queries > reach ||
            sa2_attention_keys(a, i) > reach)
            return "distances beyond the table r";
    }
    return NULL;
}

static const char *judge_attention(const sa2_attention_args *a)
{
    if (a->y.ndim != 3 || !is_float(&a->y) || !is_float(&a->q) ||
        !sa2_tensor_same_shape(&a->y, &a->q))
        return "y, q [rows, heads, d] and k, v [keys, heads, d] of one dtype expected";
    if (a->queries.n != a->keys.n || !are_sequences(a->queries, a->q.shape[0]))
        return "offsets do not cover the queries";
    const char *wrong = judge_keys(a);
    if (wrong != NULL)
        return wrong;
    for (int i = 0; a->n_visible != NULL && i < a->queries.n; i++)
        if (a->n_visible[i] < 0 || a->n_visible[i] > sa2_attention_keys(a, i))
            return "more visible keys than keys";
    return judge_distances(a);
}

void sa2_attention(sa2_stream *s, sa2_attention_args a)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = judge_attention(&a);
    if (wrong != NULL)
        sa2_refuse(s, "attention", wrong, 7,
                   (sa2_named[]){{"y", &a.y},
                                 {"q", &a.q},
                                 {"k", &a.k},
                                 {"v", &a.v},
                                 {"u", &a.u},
                                 {"w", &a.w},
                                 {"r", &a.r}});
    else
        s->status = s->ops->attention(s, &a, &s->error);
}

static const char *judge_paged(const sa2_kv_cache_view *cache, const sa2_paged_rows *where,
                               int64_t rows)
{
    if (cache->page_size < 16 || cache->page_size % 16 != 0)
        return "a page size that is a multiple of 16 expected";
    if (!are_sequences(where->rows, rows))
        return "offsets do not cover the rows";
    for (int i = 0; i < where->rows.n; i++) {
        int64_t end =
            (int64_t)where->first_position[i] + where->rows.offsets[i + 1] - where->rows.offsets[i];
        int64_t pages = (end + cache->page_size - 1) / cache->page_size;
        if (where->first_position[i] < 0 || pages > where->max_pages)
            return "a position outside its block table";
        for (int64_t p = 0; p < pages; p++) {
            int32_t page = where->block_table[(int64_t)i * where->max_pages + p];
            if (page < 0 || page >= cache->n_pages)
                return "a page outside the cache";
        }
    }
    return NULL;
}

/* What a cache of this dtype takes and gives. */
static bool suits_cache(const sa2_kv_cache_view *cache, sa2_dtype dtype)
{
    if (cache->dtype == SA2_I8)
        return dtype == SA2_F32 || dtype == SA2_BF16;
    return dtype == cache->dtype;
}

void sa2_kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k, sa2_tensor v,
                  const sa2_paged_rows *where)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    if (k.ndim != 3 || !sa2_tensor_same_shape(&k, &v) || !suits_cache(cache, k.dtype) ||
        v.dtype != k.dtype || k.shape[1] != cache->kv_heads || k.shape[2] != cache->head_dim)
        wrong = "k, v [rows, kv_heads, d] in the cache's dtype expected";
    else
        wrong = judge_paged(cache, where, k.shape[0]);
    if (wrong != NULL)
        sa2_refuse(s, "kv_store", wrong, 2, (sa2_named[]){{"k", &k}, {"v", &v}});
    else
        s->status = s->ops->kv_store(s, cache, k, v, where, &s->error);
}

void sa2_kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache, const sa2_page_copy *copies, int n)
{
    if (s->status != SA2_OK)
        return;
    for (int i = 0; i < n; i++) {
        sa2_page_copy c = copies[i];
        if (c.from >= 0 && c.from < cache->n_pages && c.to >= 0 && c.to < cache->n_pages)
            continue;
        s->status = sa2_fail(&s->error, SA2_ERR_ARG, "kv_copy: page %d to page %d of %d", c.from,
                             c.to, cache->n_pages);
        return;
    }
    s->status = s->ops->kv_copy(s, cache, copies, n, &s->error);
}

void sa2_attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q, const sa2_kv_cache_view *cache,
                         const sa2_paged_rows *where, float scale)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    if (q.ndim != 3 || !sa2_tensor_same_shape(&y, &q) || !suits_cache(cache, q.dtype) ||
        y.dtype != q.dtype || q.shape[1] % cache->kv_heads != 0 || q.shape[2] != cache->head_dim)
        wrong = "y, q [rows, heads, d] in the cache's dtype expected";
    else
        wrong = judge_paged(cache, where, q.shape[0]);
    if (wrong != NULL)
        sa2_refuse(s, "attention_paged", wrong, 2, (sa2_named[]){{"y", &y}, {"q", &q}});
    else
        s->status = s->ops->attention_paged(s, y, q, cache, where, scale, &s->error);
}
