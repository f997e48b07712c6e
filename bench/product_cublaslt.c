#include "bench/product_cublaslt.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "kernels/base/library.h"

/* ---- the library ---- */

/* Of cublasLt.h, cublas_api.h and library_types.h. */
enum {
    SUCCESS = 0,
    TYPE_F32 = 0,
    TYPE_BF16 = 14,
    COMPUTE_F32 = 68,
    TRANSPOSED = 1,
    DESC_TRANS_A = 3,
    PREFERENCE_WORKSPACE = 1,
    PREFERENCE_ALIGNMENT_A = 5, /* those of B, C and D follow */
    PREFERENCE_ALIGNMENT_D = 8,
};

enum { WORKSPACE_BYTES = 32 << 20 }; /* what NVIDIA advises for Hopper */

typedef struct algorithm {
    uint64_t words[8];
} algorithm;

typedef struct answer {
    algorithm algorithm;
    size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
} answer;

typedef struct calls {
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    const char *(*status_string)(int status);
    int (*desc_create)(void **desc, int compute, int scale);
    int (*desc_destroy)(void *desc);
    int (*desc_set)(void *desc, int attribute, const void *value, size_t bytes);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t cols, int64_t stride);
    int (*layout_destroy)(void *layout);
    int (*preference_create)(void **preference);
    int (*preference_destroy)(void *preference);
    int (*preference_set)(void *preference, int attribute, const void *value, size_t bytes);
    int (*heuristic)(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference,
                     int n_wanted, answer *answers, int *n_found);
    int (*multiply)(void *handle, void *desc, const void *alpha, const void *a_data, void *a,
                    const void *b_data, void *b, const void *beta, const void *c_data, void *c,
                    void *d_data, void *d, const algorithm *algorithm, void *workspace,
                    size_t workspace_bytes, void *queue);
} calls;

/* What is kept of a shape. Matrices of the library go by columns, so its d [n, m] = a^T b is our y = x w^T by rows,
 * with a of w and b of x. */
typedef struct plan {
    struct plan *next;
    int64_t m, n, k;
    void *desc, *w, *x, *y;
    algorithm algorithm;
} plan;

struct sa2_cublaslt {
    void *library;
    calls calls;
    void *handle;
    void *queue;
    sa2_backend *backend;
    sa2_arena workspace;
    plan *plans;
};

static sa2_status find_calls(sa2_cublaslt *lt, const char *name, sa2_error *err)
{
    calls *c = &lt->calls;
    const sa2_library_call wanted[] = {
        {"cublasLtCreate", &c->create},
        {"cublasLtDestroy", &c->destroy},
        {"cublasLtGetStatusString", &c->status_string},
        {"cublasLtMatmulDescCreate", &c->desc_create},
        {"cublasLtMatmulDescDestroy", &c->desc_destroy},
        {"cublasLtMatmulDescSetAttribute", &c->desc_set},
        {"cublasLtMatrixLayoutCreate", &c->layout_create},
        {"cublasLtMatrixLayoutDestroy", &c->layout_destroy},
        {"cublasLtMatmulPreferenceCreate", &c->preference_create},
        {"cublasLtMatmulPreferenceDestroy", &c->preference_destroy},
        {"cublasLtMatmulPreferenceSetAttribute", &c->preference_set},
        {"cublasLtMatmulAlgoGetHeuristic", &c->heuristic},
        {"cublasLtMatmul", &c->multiply},
    };
    const char *missing = sa2_library_find(lt->library, wanted, sizeof wanted / sizeof wanted[0]);
    if (missing != NULL)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s has no %s", name, missing);
    return SA2_OK;
}

static sa2_status judge(const sa2_cublaslt *lt, const char *call, int status, sa2_error *err)
{
    if (status == SUCCESS)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_DEVICE, "%s: %s (status %d)", call,
                    lt->calls.status_string(status), status);
}

static sa2_status open_library(sa2_cublaslt *lt, const char *const *names, sa2_error *err)
{
    int i = 0;
    while (names[i] != NULL && (lt->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL)) == NULL)
        i++;
    if (lt->library == NULL)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s", dlerror());
    return find_calls(lt, names[i], err);
}

sa2_status sa2_cublaslt_open(sa2_cublaslt **result, const char *const *names, sa2_stream *s,
                             sa2_error *err)
{
    bool idle;
    sa2_cublaslt *lt = calloc(1, sizeof *lt);
    if (lt == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "cuBLASLt: no memory");
    lt->backend = sa2_stream_backend(s);
    sa2_stream_poll(s, &lt->queue, &idle);
    sa2_status st = open_library(lt, names, err);
    if (st == SA2_OK)
        st = judge(lt, "cublasLtCreate", lt->calls.create(&lt->handle), err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(lt->backend, &lt->workspace, WORKSPACE_BYTES, err);
    if (st == SA2_OK)
        *result = lt;
    else
        sa2_cublaslt_close(lt);
    return st;
}

static void plan_destroy(const sa2_cublaslt *lt, plan *p)
{
    void *layouts[] = {p->w, p->x, p->y};
    for (int i = 0; i < 3; i++)
        if (layouts[i] != NULL)
            lt->calls.layout_destroy(layouts[i]);
    if (p->desc != NULL)
        lt->calls.desc_destroy(p->desc);
    free(p);
}

void sa2_cublaslt_close(sa2_cublaslt *lt)
{
    if (lt == NULL)
        return;
    for (plan *p = lt->plans, *next; p != NULL; p = next) {
        next = p->next;
        plan_destroy(lt, p);
    }
    sa2_backend_arena_destroy(lt->backend, &lt->workspace);
    if (lt->handle != NULL)
        lt->calls.destroy(lt->handle);
    if (lt->library != NULL)
        dlclose(lt->library);
    free(lt);
}

/* ---- plans ---- */

/* What the product is, without its algorithm. */
static sa2_status describe(const sa2_cublaslt *lt, plan *p, sa2_error *err)
{
    const struct {
        void **layout;
        int64_t rows, cols; /* of the library: cols of them, dense */
    } layouts[] = {{&p->w, p->k, p->n}, {&p->x, p->k, p->m}, {&p->y, p->n, p->m}};
    const int32_t transposed = TRANSPOSED;
    sa2_status st = judge(lt, "cublasLtMatmulDescCreate",
                          lt->calls.desc_create(&p->desc, COMPUTE_F32, TYPE_F32), err);
    if (st == SA2_OK)
        st = judge(lt, "cublasLtMatmulDescSetAttribute",
                   lt->calls.desc_set(p->desc, DESC_TRANS_A, &transposed, sizeof transposed), err);
    for (int i = 0; i < 3 && st == SA2_OK; i++)
        st = judge(lt, "cublasLtMatrixLayoutCreate",
                   lt->calls.layout_create(layouts[i].layout, TYPE_BF16, (uint64_t)layouts[i].rows,
                                           (uint64_t)layouts[i].cols, layouts[i].rows),
                   err);
    return st;
}

/* The workspace there is, and the alignment of an arena's memory; the library would take 256 bytes for granted. */
static sa2_status prefer(const sa2_cublaslt *lt, void *preference, sa2_error *err)
{
    const char *call = "cublasLtMatmulPreferenceSetAttribute";
    const uint64_t workspace = WORKSPACE_BYTES;
    const uint32_t alignment = SA2_ARENA_ALIGN;
    sa2_status st = judge(
        lt, call,
        lt->calls.preference_set(preference, PREFERENCE_WORKSPACE, &workspace, sizeof workspace),
        err);
    for (int i = PREFERENCE_ALIGNMENT_A; i <= PREFERENCE_ALIGNMENT_D && st == SA2_OK; i++)
        st = judge(lt, call, lt->calls.preference_set(preference, i, &alignment, sizeof alignment),
                   err);
    return st;
}

static sa2_status choose(const sa2_cublaslt *lt, plan *p, sa2_error *err)
{
    const char *call = "cublasLtMatmulAlgoGetHeuristic";
    void *preference = NULL;
    answer first = {0};
    int n_found = 0;
    sa2_status st =
        judge(lt, "cublasLtMatmulPreferenceCreate", lt->calls.preference_create(&preference), err);
    if (st != SA2_OK)
        return st;
    st = prefer(lt, preference, err);
    if (st == SA2_OK)
        st = judge(lt, call,
                   lt->calls.heuristic(lt->handle, p->desc, p->w, p->x, p->y, p->y, preference, 1,
                                       &first, &n_found),
                   err);
    if (st == SA2_OK && n_found < 1)
        st = sa2_fail(err, SA2_ERR_DEVICE, "%s: no algorithm", call);
    if (st == SA2_OK)
        st = judge(lt, call, first.status, err);
    p->algorithm = first.algorithm;
    lt->calls.preference_destroy(preference);
    return st;
}

/* That of the shape, made when it is new. */
static sa2_status find_plan(sa2_cublaslt *lt, int64_t m, int64_t n, int64_t k, plan **found,
                            sa2_error *err)
{
    for (plan *p = lt->plans; p != NULL; p = p->next)
        if (p->m == m && p->n == n && p->k == k) {
            *found = p;
            return SA2_OK;
        }
    plan *p = calloc(1, sizeof *p);
    if (p == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "cuBLASLt: no memory");
    *p = (plan){.next = lt->plans, .m = m, .n = n, .k = k};
    sa2_status st = describe(lt, p, err);
    if (st == SA2_OK)
        st = choose(lt, p, err);
    if (st == SA2_OK)
        *found = lt->plans = p;
    else
        plan_destroy(lt, p);
    return st;
}

sa2_status sa2_cublaslt_product(sa2_cublaslt *lt, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                                sa2_error *err)
{
    const float one = 1.0f, zero = 0.0f;
    plan *p = NULL;
    sa2_status st = find_plan(lt, y.shape[0], y.shape[1], x.shape[1], &p, err);
    if (st != SA2_OK)
        return st;
    return judge(lt, "cublasLtMatmul",
                 lt->calls.multiply(lt->handle, p->desc, &one, w.data, p->w, x.data, p->x, &zero,
                                    y.data, p->y, y.data, p->y, &p->algorithm, lt->workspace.base,
                                    WORKSPACE_BYTES, lt->queue),
                 err);
}
