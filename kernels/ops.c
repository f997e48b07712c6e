#include "kernels/ops.h"

#include <stdio.h>

#include "kernels/ops_check.h"

/* Shapes are judged here and in ops_*.c, once for all backends. */

void sa2_refuse(sa2_stream *s, const char *op, const char *what, int n, const sa2_named *tensors)
{
    char shapes[1024] = "";
    size_t used = 0;
    for (int i = 0; i < n && used < sizeof shapes; i++) {
        char one[96];
        if (tensors[i].x->data == NULL)
            continue;
        int wrote = snprintf(shapes + used, sizeof shapes - used, "%s%s %s", used > 0 ? ", " : "",
                             tensors[i].name, sa2_tensor_describe(tensors[i].x, one, sizeof one));
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    s->status = sa2_fail(&s->error, SA2_ERR_ARG, "%s: %s: %s", op, what, shapes);
}

int sa2_ops_count(const sa2_ops *ops, int *all)
{
    int n = (int)((sizeof *ops - offsetof(sa2_ops, matrix_bytes)) / sizeof ops->matrix_bytes);
    *all = n;
    for (const char *c = ops->missing; *c != '\0'; c++)
        n -= *c == ' ';
    return n;
}

static bool is_vector(const sa2_tensor *x, int64_t n)
{
    return x->dtype == SA2_F32 && x->ndim == 1 && x->shape[0] == n;
}

static bool is_vector_or_absent(const sa2_tensor *x, int64_t n)
{
    return absent(x) || is_vector(x, n);
}

static bool is_ids(const sa2_tensor *x, int64_t n)
{
    return x->dtype == SA2_I32 && x->ndim == 1 && x->shape[0] == n;
}

static int64_t last(const sa2_tensor *x)
{
    return x->shape[x->ndim - 1];
}

/* A table [n], or [g, n] with the row of each of `rows` in `which`. */
static bool is_table(const sa2_tensor *table, const sa2_tensor *which, int64_t rows, int64_t n)
{
    if (absent(table))
        return absent(which);
    if (table->dtype != SA2_F32 || last(table) != n || table->ndim > 2)
        return false;
    return absent(which) ? table->ndim == 1 || table->shape[0] == 1
                         : table->ndim == 2 && is_ids(which, rows);
}

/* ---- weight matrices ---- */

/* A dtype that the device has no matrices of: the only op that knows fails. */
static bool has_matrices(sa2_stream *s, const char *op, const sa2_matrix *w)
{
    if (s->ops->matrix_layouts[w->dtype] != NULL)
        return true;
    s->status = sa2_fail(&s->error, SA2_ERR_UNSUPPORTED, "%s: this device has no matrices of %s",
                         op, sa2_dtype_name(w->dtype));
    return false;
}

size_t sa2_matrix_bytes(const sa2_stream *s, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    return s->ops->matrix_bytes(dtype, rows, cols);
}

void sa2_matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src)
{
    if (s->status != SA2_OK || !has_matrices(s, "matrix_write", w))
        return;
    if (src.ndim != 2 || !is_float(&src) || src.shape[1] != w->cols || first < 0 ||
        src.shape[0] > w->rows - first)
        sa2_refuse(s, "matrix_write", "rows do not fit the matrix", 1,
                   (sa2_named[]){{"src", &src}});
    else
        s->status = s->ops->matrix_write(s, w, first, src, &s->error);
}

void sa2_matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up)
{
    if (s->status != SA2_OK || !has_matrices(s, "matrix_write_swiglu", w))
        return;
    if (!sa2_tensor_same_shape(&gate, &up) || gate.ndim != 2 || !is_float(&gate) ||
        gate.dtype != up.dtype || gate.shape[1] != w->cols || 2 * gate.shape[0] != w->rows)
        sa2_refuse(s, "matrix_write_swiglu", "gate and up do not fill the matrix", 2,
                   (sa2_named[]){{"gate", &gate}, {"up", &up}});
    else
        s->status = s->ops->matrix_write_swiglu(s, w, gate, up, &s->error);
}

void sa2_matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride)
{
    if (s->status != SA2_OK)
        return;
    if (src.ndim != 3 || src.dtype != SA2_F32 || sa2_dtype_is_rounded(w->dtype) || stride < 1 ||
        w->rows != stride * src.shape[1] ||
        w->cols != (src.shape[2] + stride - 1) / stride * src.shape[0])
        sa2_refuse(s, "matrix_write_transpose", "[in, out, kernel] does not fill the matrix", 1,
                   (sa2_named[]){{"src", &src}});
    else
        s->status = s->ops->matrix_write_transpose(s, w, src, stride, &s->error);
}

/* ---- products ---- */

/* What x, w and y may be together: bf16 by all but f32, or f32 by all. */
static bool linear_types(const sa2_tensor *y, const sa2_tensor *x, const sa2_matrix *w)
{
    return is_float(x) && is_float(y) &&
           (x->dtype == SA2_F32 || w->dtype == SA2_BF16 || sa2_dtype_is_rounded(w->dtype));
}

/* The same for what is no layer: none of few bits. */
static bool product_types(const sa2_tensor *y, const sa2_tensor *x, const sa2_matrix *w)
{
    return linear_types(y, x, w) && !sa2_dtype_is_rounded(w->dtype);
}

void sa2_linear(sa2_stream *s, sa2_linear_args a)
{
    if (s->status != SA2_OK || !has_matrices(s, "linear", a.w))
        return;
    const sa2_named shapes[] = {{"y", &a.y}, {"x", &a.x}, {"bias", &a.bias}, {"gate", &a.gate}};
    int64_t n = a.swiglu ? a.w->rows / 2 : a.w->rows;
    const char *wrong = NULL;
    if (a.y.ndim != 2 || a.x.ndim != 2 || a.x.shape[1] != a.w->cols || a.y.shape[1] != n ||
        a.y.shape[0] != a.x.shape[0])
        wrong = "y [rows, n], x [rows, k] and w [n, k] expected";
    else if (!linear_types(&a.y, &a.x, a.w))
        wrong = "dtypes do not go together";
    else if (!is_vector_or_absent(&a.bias, a.w->rows))
        wrong = "bias f32 [n] expected";
    else if (!is_table(&a.gate, &a.gate_rows, a.y.shape[0], n))
        wrong = "gate f32 [n], or [g, n] with gate_rows, expected";
    else if (a.accumulate && a.y.dtype != SA2_F32)
        wrong = "accumulation needs y in f32";
    else if (a.swiglu && (a.activation != SA2_ACT_NONE || a.accumulate || !absent(&a.gate)))
        wrong = "swiglu goes alone";
    else if (a.activation == SA2_ACT_SNAKE)
        wrong = "snake is not an epilogue";
    if (wrong != NULL)
        sa2_refuse(s, "linear", wrong, 4, shapes);
    else if (a.y.shape[0] > 0)
        s->status = s->ops->linear(s, &a, &s->error);
}

/* ---- convolutions ---- */

static int64_t conv_length(int64_t rows, const sa2_conv1d_args *a)
{
    int64_t room = rows + a->pad_left + a->pad_right - (int64_t)a->dilation * (a->kernel - 1) - 1;
    return room < 0 ? 0 : room / a->stride + 1;
}

static const char *judge_conv1d(const sa2_conv1d_args *a)
{
    if (a->kernel < 1 || a->stride < 1 || a->dilation < 1 || a->pad_left < 0 || a->pad_right < 0)
        return "kernel, stride and dilation from 1, pads from 0 expected";
    if (a->y.ndim != 2 || a->x.ndim != 2 || a->y.shape[1] != a->w->rows ||
        a->x.shape[1] * a->kernel != a->w->cols)
        return "y [., out], x [., in] and w [out, kernel * in] expected";
    if (!product_types(&a->y, &a->x, a->w))
        return "dtypes do not go together";
    if (!are_sequences(a->sequences, a->x.shape[0]))
        return "offsets do not cover x";
    int64_t rows = 0;
    for (int i = 0; i < a->sequences.n; i++)
        rows += conv_length(a->sequences.offsets[i + 1] - a->sequences.offsets[i], a);
    if (rows != a->y.shape[0])
        return "y has not as many rows as the convolution gives";
    if (!absent(&a->history) &&
        (a->history.dtype != SA2_F32 || a->history.ndim != 3 ||
         a->history.shape[0] != a->sequences.n || a->history.shape[1] != a->pad_left ||
         a->history.shape[2] != a->x.shape[1]))
        return "history f32 [n, pad_left, in] expected";
    if ((a->input == SA2_ACT_SNAKE) != !absent(&a->input_alpha) ||
        !is_vector_or_absent(&a->input_alpha, a->x.shape[1]))
        return "snake takes alpha [in], nothing else does";
    if (!is_vector_or_absent(&a->bias, a->w->rows))
        return "bias f32 [out] expected";
    if (!is_table(&a->gate, &a->gate_rows, a->y.shape[0], a->w->rows))
        return "gate f32 [out], or [g, out] with gate_rows, expected";
    if (a->accumulate && a->y.dtype != SA2_F32)
        return "accumulation needs y in f32";
    return NULL;
}

void sa2_conv1d(sa2_stream *s, sa2_conv1d_args a)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = judge_conv1d(&a);
    if (wrong != NULL)
        sa2_refuse(s, "conv1d", wrong, 5,
                   (sa2_named[]){{"y", &a.y},
                                 {"x", &a.x},
                                 {"bias", &a.bias},
                                 {"history", &a.history},
                                 {"gate", &a.gate}});
    else if (a.y.shape[0] > 0)
        s->status = s->ops->conv1d(s, &a, &s->error);
}

void sa2_conv_transpose1d(sa2_stream *s, sa2_conv_transpose1d_args a)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    if (a.kernel < 1 || a.stride < 1 || a.pad < 0 || a.kernel < a.stride)
        wrong = "stride from 1, kernel from stride, pad from 0 expected";
    else if (sa2_dtype_is_rounded(a.w->dtype))
        wrong = "matrices of few bits are for layers";
    else if (a.y.ndim != 2 || a.x.ndim != 2 || a.y.dtype != SA2_F32 || a.x.dtype != SA2_F32 ||
             !sa2_tensor_is_dense(&a.y) || a.w->rows != a.stride * a.y.shape[1] ||
             a.w->cols != (a.kernel + a.stride - 1) / a.stride * a.x.shape[1])
        wrong = "y f32 [., out] dense, x f32 [., in] and w by phases expected";
    else if (!are_sequences(a.sequences, a.x.shape[0]))
        wrong = "offsets do not cover x";
    else if (!is_vector_or_absent(&a.bias, a.y.shape[1]))
        wrong = "bias f32 [out] expected";
    else {
        int64_t rows = 0;
        for (int i = 0; i < a.sequences.n; i++) {
            int64_t length = a.sequences.offsets[i + 1] - a.sequences.offsets[i];
            int64_t out = (length - 1) * a.stride - 2 * a.pad + a.kernel;
            rows += length > 0 && out > 0 ? out : 0;
        }
        if (rows != a.y.shape[0])
            wrong = "y has not as many rows as the convolution gives";
    }
    if (wrong != NULL)
        sa2_refuse(s, "conv_transpose1d", wrong, 3,
                   (sa2_named[]){{"y", &a.y}, {"x", &a.x}, {"bias", &a.bias}});
    else if (a.y.shape[0] > 0)
        s->status = s->ops->conv_transpose1d(s, &a, &s->error);
}

void sa2_conv2d(sa2_stream *s, sa2_conv2d_args a)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    if ((a.kernel != 1 && a.kernel != 3) || a.stride < 1)
        wrong = "kernel 1 or 3, stride from 1 expected";
    else if (sa2_dtype_is_rounded(a.w->dtype))
        wrong = "matrices of few bits are for layers";
    else if (a.y.ndim != 3 || a.x.ndim != 3 || a.y.dtype != SA2_F32 || a.x.dtype != SA2_F32 ||
             !sa2_tensor_is_dense(&a.y) || !sa2_tensor_is_dense(&a.x) ||
             a.y.shape[0] != a.x.shape[0] || a.x.shape[1] < 1 ||
             a.y.shape[1] != (a.x.shape[1] - 1) / a.stride + 1 || a.w->rows != a.y.shape[2] ||
             a.w->cols != (int64_t)a.kernel * a.kernel * a.x.shape[2])
        wrong = "y f32 [T, F', out], x f32 [T, F, in] and w [out, kernel * kernel * in] expected";
    else if (!is_vector_or_absent(&a.bias, a.w->rows))
        wrong = "bias f32 [out] expected";
    if (wrong != NULL)
        sa2_refuse(s, "conv2d", wrong, 3,
                   (sa2_named[]){{"y", &a.y}, {"x", &a.x}, {"bias", &a.bias}});
    else if (a.y.shape[0] > 0)
        s->status = s->ops->conv2d(s, &a, &s->error);
}

void sa2_depthwise_memory(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                          sa2_rows sequences, int pad_left)
{
    if (s->status != SA2_OK)
        return;
    if (y.ndim != 2 || !sa2_tensor_same_shape(&y, &x) || y.data == x.data || y.dtype != SA2_F32 ||
        x.dtype != SA2_F32 || w.dtype != SA2_F32 || w.ndim != 2 || w.shape[0] != x.shape[1] ||
        pad_left < 0 || pad_left >= w.shape[1] || !are_sequences(sequences, x.shape[0]))
        sa2_refuse(s, "depthwise_memory", "y, x f32 [rows, c] apart, w f32 [c, kernel] expected", 3,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"w", &w}});
    else
        s->status = s->ops->depthwise_memory(s, y, x, w, sequences, pad_left, &s->error);
}

/* ---- norms and positions ---- */

void sa2_rms_norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, float eps)
{
    if (s->status != SA2_OK)
        return;
    if (!sa2_tensor_same_shape(&y, &x) || !is_float(&x) || !is_float(&y) ||
        !is_vector(&weight, last(&x)))
        sa2_refuse(s, "rms_norm", "y, x [rows, hidden] and weight f32 [hidden] expected", 3,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"weight", &weight}});
    else
        s->status = s->ops->rms_norm(s, y, x, weight, eps, &s->error);
}

void sa2_layer_norm(sa2_stream *s, sa2_layer_norm_args a)
{
    if (s->status != SA2_OK)
        return;
    int64_t n = last(&a.x);
    const char *wrong = NULL;
    if (!sa2_tensor_same_shape(&a.y, &a.x) || !is_float(&a.x) || !is_float(&a.y))
        wrong = "y and x of one shape, f32 or bf16, expected";
    else if (!is_vector_or_absent(&a.weight, n) || !is_vector_or_absent(&a.bias, n) ||
             absent(&a.weight) != absent(&a.bias))
        wrong = "weight and bias f32 [n], or neither, expected";
    else if (absent(&a.scale) != absent(&a.shift) ||
             !is_table(&a.scale, &a.table_rows, a.x.shape[0], n) ||
             (!absent(&a.shift) && !sa2_tensor_same_shape(&a.scale, &a.shift)))
        wrong = "scale and shift f32 [n], or [g, n] with table_rows, expected";
    if (wrong != NULL)
        sa2_refuse(s, "layer_norm", wrong, 6,
                   (sa2_named[]){{"y", &a.y},
                                 {"x", &a.x},
                                 {"weight", &a.weight},
                                 {"bias", &a.bias},
                                 {"scale", &a.scale},
                                 {"shift", &a.shift}});
    else
        s->status = s->ops->layer_norm(s, &a, &s->error);
}

void sa2_rope(sa2_stream *s, sa2_tensor x, sa2_tensor positions, float theta)
{
    if (s->status != SA2_OK)
        return;
    if (x.ndim != 3 || !is_float(&x) || x.shape[2] % 2 != 0 || !is_ids(&positions, x.shape[0]))
        sa2_refuse(s, "rope", "x [rows, heads, even d] and positions i32 [rows] expected", 2,
                   (sa2_named[]){{"x", &x}, {"positions", &positions}});
    else
        s->status = s->ops->rope(s, x, positions, theta, &s->error);
}

/* ---- rows and elements ---- */

void sa2_embedding(sa2_stream *s, sa2_tensor y, sa2_tensor table, sa2_tensor ids)
{
    if (s->status != SA2_OK)
        return;
    if (y.ndim != 2 || table.ndim != 2 || !is_float(&y) || !is_float(&table) ||
        y.shape[1] != table.shape[1] || !is_ids(&ids, y.shape[0]))
        sa2_refuse(s, "embedding", "y [rows, n], table [count, n] and ids i32 [rows] expected", 3,
                   (sa2_named[]){{"y", &y}, {"table", &table}, {"ids", &ids}});
    else
        s->status = s->ops->embedding(s, y, table, ids, &s->error);
}

void sa2_scatter_rows(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor rows)
{
    if (s->status != SA2_OK)
        return;
    if (y.ndim != 2 || x.ndim != 2 || !is_float(&y) || !is_float(&x) || y.shape[1] != x.shape[1] ||
        !is_ids(&rows, x.shape[0]))
        sa2_refuse(s, "scatter_rows", "y [., c], x [n, c] and rows i32 [n] expected", 3,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"rows", &rows}});
    else if (x.shape[0] > 0)
        s->status = s->ops->scatter_rows(s, y, x, rows, &s->error);
}

void sa2_copy_rows(sa2_stream *s, sa2_tensor y, sa2_tensor to, sa2_tensor x, sa2_tensor from)
{
    if (s->status != SA2_OK)
        return;
    if (y.ndim != 2 || x.ndim != 2 || !is_float(&y) || !is_float(&x) || y.shape[1] != x.shape[1] ||
        to.ndim != 1 || !is_ids(&to, to.shape[0]) || !is_ids(&from, to.shape[0]))
        sa2_refuse(s, "copy_rows", "y [., c], x [., c], to and from i32 [n] expected", 4,
                   (sa2_named[]){{"y", &y}, {"to", &to}, {"x", &x}, {"from", &from}});
    else if (to.shape[0] > 0)
        s->status = s->ops->copy_rows(s, y, to, x, from, &s->error);
}

void sa2_copy(sa2_stream *s, sa2_tensor y, sa2_tensor x)
{
    if (s->status != SA2_OK)
        return;
    if (!sa2_tensor_same_shape(&y, &x) || !is_float(&y) || !is_float(&x))
        sa2_refuse(s, "copy", "y and x of one shape, f32 or bf16, expected", 2,
                   (sa2_named[]){{"y", &y}, {"x", &x}});
    else
        s->status = s->ops->copy(s, y, x, &s->error);
}

void sa2_add(sa2_stream *s, sa2_tensor y, sa2_tensor a, sa2_tensor b)
{
    if (s->status != SA2_OK)
        return;
    bool row = b.ndim == 1 && a.ndim == 2 && b.shape[0] == a.shape[1];
    if (!sa2_tensor_same_shape(&y, &a) || (!row && !sa2_tensor_same_shape(&a, &b)) ||
        !is_float(&y) || !is_float(&a) || !is_float(&b))
        sa2_refuse(s, "add", "y, a of one shape, b the same or [c], expected", 3,
                   (sa2_named[]){{"y", &y}, {"a", &a}, {"b", &b}});
    else
        s->status = s->ops->add(s, y, a, b, &s->error);
}

void sa2_mix(sa2_stream *s, sa2_tensor y, float a, sa2_tensor x, float b, sa2_tensor z)
{
    if (s->status != SA2_OK)
        return;
    if (!sa2_tensor_same_shape(&y, &x) || !sa2_tensor_same_shape(&x, &z) || !is_float(&y) ||
        !is_float(&x) || !is_float(&z))
        sa2_refuse(s, "mix", "y, x and z of one shape expected", 3,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"z", &z}});
    else
        s->status = s->ops->mix(s, y, a, x, b, z, &s->error);
}

void sa2_activate(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_activation activation, float slope,
                  sa2_tensor alpha)
{
    if (s->status != SA2_OK)
        return;
    if (!sa2_tensor_same_shape(&y, &x) || !is_float(&y) || !is_float(&x) ||
        (activation == SA2_ACT_SNAKE) == absent(&alpha) || !is_vector_or_absent(&alpha, last(&x)))
        sa2_refuse(s, "activate", "y and x of one shape, alpha f32 [c] for snake, expected", 3,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"alpha", &alpha}});
    else
        s->status = s->ops->activate(s, y, x, activation, slope, alpha, &s->error);
}

void sa2_affine(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor scale, sa2_tensor shift,
                sa2_activation activation)
{
    if (s->status != SA2_OK)
        return;
    if (x.ndim != 2 || !sa2_tensor_same_shape(&y, &x) || !is_float(&y) || !is_float(&x) ||
        !is_vector(&scale, last(&x)) || !is_vector(&shift, last(&x)) ||
        activation == SA2_ACT_SNAKE || activation == SA2_ACT_LEAKY)
        sa2_refuse(s, "affine", "y, x [rows, c], scale and shift f32 [c] expected", 4,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"scale", &scale}, {"shift", &shift}});
    else
        s->status = s->ops->affine(s, y, x, scale, shift, activation, &s->error);
}
