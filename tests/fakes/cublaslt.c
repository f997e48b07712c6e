/* cublaslt.c - the calls of cuBLASLt that products in bf16 need, on memory that the host may use; each of them can be made to
 * fail. A library of its own, as the real one is.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fakes/cublaslt.h"

enum { SUCCESS = 0, INVALID_VALUE = 7, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15 };
enum { F32 = 0, BF16 = 14, COMPUTE_F32 = 68, TRANS_A = 3, TRANS_B = 4, WORKSPACE = 1 };
enum { ALIGNMENT_A = 5, ALIGNMENT_D = 8 };

typedef struct desc {
    int transposed_a, transposed_b;
} desc;

/* Column-major. */
typedef struct layout {
    uint64_t rows, cols;
    int64_t stride;
    int type;
} layout;

typedef struct preference {
    uint64_t workspace_bytes;
    uint32_t alignments[4];
} preference;

static struct {
    int fail_call, calls, asked, products;
    fake_cublaslt_fault fault;
    const char *failed;
    void (*starts)(void);
    void (*access)(const void *p, size_t bytes, bool writes);
} all;

void fake_cublaslt_begin(int fail_call, fake_cublaslt_fault fault)
{
    all.fail_call = fail_call;
    all.calls = all.asked = all.products = 0;
    all.fault = fault;
    all.failed = "";
}

int fake_cublaslt_calls(void)
{
    return all.calls;
}

const char *fake_cublaslt_failed(void)
{
    return all.failed;
}

int fake_cublaslt_asked(void)
{
    return all.asked;
}

int fake_cublaslt_products(void)
{
    return all.products;
}

void fake_cublaslt_watch(void (*starts)(void),
                         void (*access)(const void *p, size_t bytes, bool writes))
{
    all.starts = starts;
    all.access = access;
}

/* This call's turn. */
static bool is_broken(const char *call)
{
    bool now = all.calls++ == all.fail_call;
    if (now)
        all.failed = call;
    return now;
}

/* A new object of the library, unless the call fails. */
static int create(const char *call, void **object, size_t bytes, bool right)
{
    if (is_broken(call))
        return INTERNAL_ERROR;
    if (!right)
        return INVALID_VALUE;
    *object = calloc(1, bytes);
    return *object != NULL ? SUCCESS : INTERNAL_ERROR;
}

static int destroy(void *object)
{
    free(object);
    return SUCCESS;
}

int cublasLtCreate(void **handle)
{
    return create("cublasLtCreate", handle, 1, true);
}

int cublasLtDestroy(void *handle)
{
    return destroy(handle);
}

const char *cublasLtGetStatusString(int status)
{
    return status == INTERNAL_ERROR  ? "an internal cuBLAS operation failed"
           : status == NOT_SUPPORTED ? "the requested functionality is not supported"
                                     : "an unsupported value or parameter was passed";
}

int cublasLtMatmulDescCreate(void **made, int compute, int scale)
{
    return create("cublasLtMatmulDescCreate", made, sizeof(desc),
                  compute == COMPUTE_F32 && scale == F32);
}

int cublasLtMatmulDescDestroy(void *made)
{
    return destroy(made);
}

int cublasLtMatmulDescSetAttribute(void *made, int attribute, const void *value, size_t bytes)
{
    desc *d = made;
    if (is_broken("cublasLtMatmulDescSetAttribute"))
        return INTERNAL_ERROR;
    if (bytes != sizeof(int32_t) || (attribute != TRANS_A && attribute != TRANS_B))
        return INVALID_VALUE;
    memcpy(attribute == TRANS_A ? &d->transposed_a : &d->transposed_b, value, bytes);
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(void **made, int type, uint64_t rows, uint64_t cols, int64_t stride)
{
    int status = create("cublasLtMatrixLayoutCreate", made, sizeof(layout),
                        (type == BF16 || type == F32) && stride >= (int64_t)rows);
    if (status == SUCCESS)
        *(layout *)*made = (layout){rows, cols, stride, type};
    return status;
}

int cublasLtMatrixLayoutDestroy(void *made)
{
    return destroy(made);
}

int cublasLtMatmulPreferenceCreate(void **made)
{
    int status = create("cublasLtMatmulPreferenceCreate", made, sizeof(preference), true);
    if (status == SUCCESS)
        *(preference *)*made = (preference){.alignments = {256, 256, 256, 256}};
    return status;
}

int cublasLtMatmulPreferenceDestroy(void *made)
{
    return destroy(made);
}

int cublasLtMatmulPreferenceSetAttribute(void *made, int attribute, const void *value, size_t bytes)
{
    preference *p = made;
    if (is_broken("cublasLtMatmulPreferenceSetAttribute"))
        return INTERNAL_ERROR;
    if (attribute == WORKSPACE && bytes == sizeof p->workspace_bytes)
        memcpy(&p->workspace_bytes, value, bytes);
    else if (attribute >= ALIGNMENT_A && attribute <= ALIGNMENT_D && bytes == sizeof(uint32_t))
        memcpy(&p->alignments[attribute - ALIGNMENT_A], value, bytes);
    else
        return INVALID_VALUE;
    return SUCCESS;
}

/* Rows and columns of an operand as it is multiplied. */
static layout turned(const layout *l, int transposed)
{
    return transposed ? (layout){l->cols, l->rows, 0, l->type} : *l;
}

static bool fit(const desc *o, const layout *a, const layout *b, const layout *d)
{
    layout left = turned(a, o->transposed_a), right = turned(b, o->transposed_b);
    return left.cols == right.rows && d->rows == left.rows && d->cols == right.cols &&
           a->type == BF16 && b->type == BF16;
}

/* The algorithm has the shape in it, the workspace that it was promised, and an alignment. */
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *made, void *a, void *b, void *c, void *d,
                                   void *preferred, int n_wanted, fake_cublaslt_answer *answers,
                                   int *n_found)
{
    const preference *p = preferred;
    const layout *y = d;
    bool broken = is_broken("cublasLtMatmulAlgoGetHeuristic");
    if (broken && all.fault == FAKE_CUBLASLT_FAILS)
        return INTERNAL_ERROR;
    if (handle == NULL || n_wanted < 1 || c != d || !fit(made, a, b, d))
        return INVALID_VALUE;
    all.asked++;
    *n_found = broken ? 0 : 1;
    uint32_t alignment = p->alignments[0];
    for (int i = 1; i < 4; i++)
        alignment = p->alignments[i] > alignment ? p->alignments[i] : alignment;
    answers[0] = (fake_cublaslt_answer){
        .algorithm = {{y->rows, y->cols, ((const layout *)a)->rows, alignment}},
        .workspace_bytes = p->workspace_bytes};
    answers[0].algorithm.words[4] = p->workspace_bytes;
    answers[0].algorithm.words[5] = (uint64_t)y->type;
    return SUCCESS;
}

/* ---- the product ---- */

static float from_bf16(const uint16_t *data, int64_t at)
{
    uint32_t bits = (uint32_t)data[at] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest, ties to even; no infinities and NaNs here. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float element(const uint16_t *data, const layout *l, int transposed, uint64_t row,
                     uint64_t col)
{
    uint64_t i = transposed ? col : row, j = transposed ? row : col;
    return from_bf16(data, (int64_t)i + (int64_t)j * l->stride);
}

static bool is_aligned(const void *p, uint64_t bytes)
{
    return (uintptr_t)p % bytes == 0;
}

static void watch(const void *data, const layout *l, bool writes)
{
    size_t element = l->type == F32 ? 4 : 2;
    for (uint64_t col = 0; all.access != NULL && col < l->cols; col++)
        all.access((const char *)data + col * (uint64_t)l->stride * element, l->rows * element,
                   writes);
}

/* Where the algorithm was chosen for another product, or for memory that is not this. */
static bool is_of(const fake_cublaslt_algorithm *algorithm, const layout *w, const layout *y,
                  size_t workspace_bytes)
{
    const uint64_t *words = algorithm->words;
    return words[0] == y->rows && words[1] == y->cols && words[2] == w->rows &&
           words[4] <= workspace_bytes && words[5] == (uint64_t)y->type;
}

static void put(void *y_data, const layout *y, uint64_t row, uint64_t col, float sum, float beta)
{
    uint64_t at = row + col * (uint64_t)y->stride;
    float *f32 = (float *)y_data + at;
    uint16_t *bf16 = (uint16_t *)y_data + at;
    if (y->type == F32)
        *f32 = beta != 0.0f ? sum + beta * *f32 : sum;
    else
        *bf16 = to_bf16(beta != 0.0f ? sum + beta * from_bf16(bf16, 0) : sum);
}

int cublasLtMatmul(void *handle, void *made, const void *alpha, const void *a_data, void *a,
                   const void *b_data, void *b, const void *beta, const void *c_data, void *c,
                   void *d_data, void *d, const fake_cublaslt_algorithm *algorithm, void *workspace,
                   size_t workspace_bytes, void *queue)
{
    const desc *o = made;
    const layout *w = a, *x = b, *y = d;
    bool broken = is_broken("cublasLtMatmul");
    if (broken && all.fault == FAKE_CUBLASLT_FAILS)
        return INTERNAL_ERROR;
    if (handle == NULL || c_data != d_data || c != d || queue == NULL || !fit(o, w, x, y))
        return INVALID_VALUE;
    uint64_t alignment = algorithm->words[3];
    if (!is_of(algorithm, w, y, workspace_bytes) || !is_aligned(a_data, alignment) ||
        !is_aligned(b_data, alignment) || !is_aligned(d_data, alignment) ||
        !is_aligned(workspace, alignment))
        return NOT_SUPPORTED;
    if (all.starts != NULL)
        all.starts();
    watch(a_data, w, false);
    watch(b_data, x, false);
    if (*(const float *)beta != 0.0f)
        watch(d_data, y, false);
    watch(d_data, y, true);
    uint64_t k = turned(w, o->transposed_a).cols;
    for (uint64_t i = 0; i < y->rows; i++)
        for (uint64_t j = 0; j < y->cols; j++) {
            float sum = 0.0f;
            for (uint64_t l = 0; l < k; l++)
                sum += element(a_data, w, o->transposed_a, i, l) *
                       element(b_data, x, o->transposed_b, l, j);
            sum *= *(const float *)alpha;
            bool spoiled = broken && j == y->cols - 1;
            put(d_data, y, i, j, spoiled ? sum + 1.0f + sum * 0.1f : sum, *(const float *)beta);
        }
    all.products++;
    return SUCCESS;
}
