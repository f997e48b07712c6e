/* embedding.cu - contracts: sa2_embedding(), sa2_scatter_rows() and sa2_copy_rows() in kernels/ops.h.
 *
 * A block for each row and THREADS packs of it; ids are judged by the threads that use them. The floor is the
 * bytes of the rows, read and written once.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 128;

struct selection {
    vectors_view y, x;
    const int32_t *y_rows, *x_rows; /* NULL: in order */
    long long y_count, x_count;
    fault_kind y_kind, x_kind;
    bool last_wins; /* of two equal ids in y_rows, the later row stays */
    int rows;
    struct fault *fault;
};

/* Is there a later row with the same target? Targets are few: the rows of one step. */
static __device__ __forceinline__ bool is_replaced(const selection &a, int row, int target)
{
    for (int later = row + 1; later < a.rows; later++)
        if (a.y_rows[later] == target)
            return true;
    return false;
}

static __global__ void __launch_bounds__(THREADS) select_kernel(selection a)
{
    wait_for_earlier();
    int row = (int)blockIdx.x, to = row, from = row;
    if (a.y_rows != nullptr) {
        to = a.y_rows[row];
        if (!in_range(a.fault, a.y_kind, to, a.y_count, row) ||
            (a.last_wins && is_replaced(a, row, to)))
            return;
    }
    if (a.x_rows != nullptr) {
        from = a.x_rows[row];
        if (!in_range(a.fault, a.x_kind, from, a.x_count, row))
            return;
    }
    int at = ((int)blockIdx.y * THREADS + (int)threadIdx.x) * PACK;
    if (at >= a.x.n)
        return;
    float x[PACK];
    load_pack(x, a.x, from * a.x.stride, at);
    store_pack(a.y, to * a.y.stride, at, x);
}

static sa2_status select(sa2_stream *s, const char *op, const selection &a, sa2_error *err)
{
    if (a.rows == 0 || a.x.n == 0)
        return SA2_OK;
    dim3 grid((unsigned)a.rows, blocks_for(a.x.n, THREADS * PACK));
    return launch(s, op, select_kernel, grid, THREADS, 0, err, a);
}

sa2_status embedding(sa2_stream *s, sa2_tensor y, sa2_tensor table, sa2_tensor ids, sa2_error *err)
{
    selection a = {.y = rows_of(y),
                   .x = rows_of(table),
                   .y_rows = nullptr,
                   .x_rows = (const int32_t *)ids.data,
                   .y_count = 0,
                   .x_count = table.shape[0],
                   .y_kind = fault_kind::NONE,
                   .x_kind = fault_kind::EMBEDDING,
                   .last_wins = false,
                   .rows = (int)y.shape[0],
                   .fault = queue_of(s)->fault};
    return select(s, "embedding", a, err);
}

sa2_status scatter_rows(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor rows, sa2_error *err)
{
    selection a = {.y = rows_of(y),
                   .x = rows_of(x),
                   .y_rows = (const int32_t *)rows.data,
                   .x_rows = nullptr,
                   .y_count = y.shape[0],
                   .x_count = 0,
                   .y_kind = fault_kind::SCATTER_ROWS,
                   .x_kind = fault_kind::NONE,
                   .last_wins = true,
                   .rows = (int)x.shape[0],
                   .fault = queue_of(s)->fault};
    return select(s, "scatter_rows", a, err);
}

sa2_status copy_rows(sa2_stream *s, sa2_tensor y, sa2_tensor to, sa2_tensor x, sa2_tensor from,
                     sa2_error *err)
{
    selection a = {.y = rows_of(y),
                   .x = rows_of(x),
                   .y_rows = (const int32_t *)to.data,
                   .x_rows = (const int32_t *)from.data,
                   .y_count = y.shape[0],
                   .x_count = x.shape[0],
                   .y_kind = fault_kind::COPY_ROWS_TO,
                   .x_kind = fault_kind::COPY_ROWS_FROM,
                   .last_wins = false,
                   .rows = (int)to.shape[0],
                   .fault = queue_of(s)->fault};
    return select(s, "copy_rows", a, err);
}
} // namespace sa2_cuda
