#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>
#include <pthread.h>
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

/* What an algorithm is chosen for. */
typedef struct shape {
    int64_t m, n, k, y_step, x_step, w_step;
    bool y_is_f32;
} shape;

/* What is kept of a shape. Matrices of the library go by columns, so its d [n, m] = a^T b is our y = x w^T by rows,
 * with a of w and b of x. */
typedef struct plan {
    uint64_t used; /* when it was last; 0: never */
    shape shape;
    void *w, *x, *y;
    algorithm algorithm;
} plan;

enum { MAX_PLANS = 64 };

struct sa2_cublaslt {
    void *library;
    calls calls;
    void *handle, *desc, *preference;
    pthread_mutex_t lock; /* of what follows */
    uint64_t n_products;
    plan plans[MAX_PLANS];
};

const char *const sa2_cublaslt_names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};

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

/* All products are of this kind. */
static sa2_status describe(sa2_cublaslt *lt, sa2_error *err)
{
    const int32_t transposed = TRANSPOSED;
    sa2_status st = judge(lt, "cublasLtMatmulDescCreate",
                          lt->calls.desc_create(&lt->desc, COMPUTE_F32, TYPE_F32), err);
    if (st != SA2_OK)
        return st;
    return judge(lt, "cublasLtMatmulDescSetAttribute",
                 lt->calls.desc_set(lt->desc, DESC_TRANS_A, &transposed, sizeof transposed), err);
}

/* The workspace there is, and the alignment of data; the library would take 256 bytes for granted. */
static sa2_status prefer(sa2_cublaslt *lt, sa2_error *err)
{
    const char *call = "cublasLtMatmulPreferenceSetAttribute";
    const uint64_t workspace = SA2_CUBLASLT_WORKSPACE;
    const uint32_t alignment = SA2_CUBLASLT_ALIGN;
    sa2_status st = judge(lt, "cublasLtMatmulPreferenceCreate",
                          lt->calls.preference_create(&lt->preference), err);
    if (st == SA2_OK)
        st = judge(lt, call,
                   lt->calls.preference_set(lt->preference, PREFERENCE_WORKSPACE, &workspace,
                                            sizeof workspace),
                   err);
    for (int i = PREFERENCE_ALIGNMENT_A; i <= PREFERENCE_ALIGNMENT_D && st == SA2_OK; i++)
        st = judge(lt, call,
                   lt->calls.preference_set(lt->preference, i, &alignment, sizeof alignment), err);
    return st;
}

sa2_status sa2_cublaslt_open(sa2_cublaslt **result, const char *const *names, sa2_error *err)
{
    sa2_cublaslt *lt = calloc(1, sizeof *lt);
    if (lt == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "cuBLASLt: no memory");
    pthread_mutex_init(&lt->lock, NULL);
    sa2_status st = open_library(lt, names, err);
    if (st == SA2_OK)
        st = judge(lt, "cublasLtCreate", lt->calls.create(&lt->handle), err);
    if (st == SA2_OK)
        st = describe(lt, err);
    if (st == SA2_OK)
        st = prefer(lt, err);
    if (st == SA2_OK)
        *result = lt;
    else
        sa2_cublaslt_close(lt);
    return st;
}

static void plan_clear(const sa2_cublaslt *lt, plan *p)
{
    void *layouts[] = {p->w, p->x, p->y};
    for (int i = 0; i < 3; i++)
        if (layouts[i] != NULL)
            lt->calls.layout_destroy(layouts[i]);
    *p = (plan){0};
}

void sa2_cublaslt_close(sa2_cublaslt *lt)
{
    if (lt == NULL)
        return;
    for (int i = 0; i < MAX_PLANS; i++)
        plan_clear(lt, &lt->plans[i]);
    if (lt->preference != NULL)
        lt->calls.preference_destroy(lt->preference);
    if (lt->desc != NULL)
        lt->calls.desc_destroy(lt->desc);
    if (lt->handle != NULL)
        lt->calls.destroy(lt->handle);
    if (lt->library != NULL)
        dlclose(lt->library);
    pthread_mutex_destroy(&lt->lock);
    free(lt);
}

/* ---- plans ---- */

static shape shape_of(const sa2_cublaslt_product *p)
{
    return (shape){p->m, p->n, p->k, p->y_step, p->x_step, p->w_step, p->y_is_f32};
}

static bool is_same(const shape *a, const shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->y_step == b->y_step &&
           a->x_step == b->x_step && a->w_step == b->w_step && a->y_is_f32 == b->y_is_f32;
}

static sa2_status lay_out(const sa2_cublaslt *lt, plan *p, sa2_error *err)
{
    const shape *s = &p->shape;
    const struct {
        void **layout;
        int type;
        int64_t rows, cols, step; /* of the library: from column to column */
    } layouts[] = {{&p->w, TYPE_BF16, s->k, s->n, s->w_step},
                   {&p->x, TYPE_BF16, s->k, s->m, s->x_step},
                   {&p->y, s->y_is_f32 ? TYPE_F32 : TYPE_BF16, s->n, s->m, s->y_step}};
    sa2_status st = SA2_OK;
    for (int i = 0; i < 3 && st == SA2_OK; i++)
        st = judge(lt, "cublasLtMatrixLayoutCreate",
                   lt->calls.layout_create(layouts[i].layout, layouts[i].type,
                                           (uint64_t)layouts[i].rows, (uint64_t)layouts[i].cols,
                                           layouts[i].step),
                   err);
    return st;
}

static sa2_status choose(const sa2_cublaslt *lt, plan *p, sa2_error *err)
{
    const char *call = "cublasLtMatmulAlgoGetHeuristic";
    answer first = {0};
    int n_found = 0;
    sa2_status st = judge(lt, call,
                          lt->calls.heuristic(lt->handle, lt->desc, p->w, p->x, p->y, p->y,
                                              lt->preference, 1, &first, &n_found),
                          err);
    if (st == SA2_OK && n_found < 1)
        st = sa2_fail(err, SA2_ERR_DEVICE, "%s: no algorithm", call);
    if (st == SA2_OK)
        st = judge(lt, call, first.status, err);
    p->algorithm = first.algorithm;
    return st;
}

/* That of the shape; a new one takes the place of the one that was not used for the longest time. */
static sa2_status find_plan(sa2_cublaslt *lt, const shape *wanted, plan **found, sa2_error *err)
{
    plan *p = &lt->plans[0];
    for (int i = 0; i < MAX_PLANS; i++) {
        plan *other = &lt->plans[i];
        if (other->used != 0 && is_same(&other->shape, wanted)) {
            *found = other;
            return SA2_OK;
        }
        p = other->used < p->used ? other : p;
    }
    plan_clear(lt, p);
    p->shape = *wanted;
    sa2_status st = lay_out(lt, p, err);
    if (st == SA2_OK)
        st = choose(lt, p, err);
    if (st == SA2_OK)
        *found = p;
    else
        plan_clear(lt, p);
    return st;
}

sa2_status sa2_cublaslt_multiply(sa2_cublaslt *lt, const sa2_cublaslt_product *p, sa2_error *err)
{
    const float one = 1.0f, zero = 0.0f;
    const shape wanted = shape_of(p);
    plan *known = NULL;
    pthread_mutex_lock(&lt->lock);
    sa2_status st = find_plan(lt, &wanted, &known, err);
    if (st == SA2_OK) {
        known->used = ++lt->n_products;
        st = judge(lt, "cublasLtMatmul",
                   lt->calls.multiply(lt->handle, lt->desc, &one, p->w, known->w, p->x, known->x,
                                      p->accumulate ? &one : &zero, p->y, known->y, p->y, known->y,
                                      &known->algorithm, p->workspace, SA2_CUBLASLT_WORKSPACE,
                                      p->queue),
                   err);
    }
    pthread_mutex_unlock(&lt->lock);
    return st;
}
