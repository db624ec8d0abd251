// Runs kernels of shared libraries on a machine without Python: calls come on stdin, outputs go to stdout.
//
// A call is a line "LIBRARY SYMBOL TENSORS", then for each tensor a line "CODE BITS DIMENSIONS SIZE..." and its
// bytes; the answer is the bytes of the last tensor. The structures are those of dlpack.h and tvm/ffi/c_api.h.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEVICE_CPU = 1, TYPE_DLTENSOR = 7, MOST_TENSORS = 64, MOST_DIMENSIONS = 8, ALIGNMENT = 64 };

typedef struct {
  void *data;
  int32_t device_type, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} Tensor;

typedef struct {
  int32_t type, padding;
  union {
    int64_t as_int64;
    void *as_pointer;
  };
} Any;

typedef int Kernel(void *self, const Any *arguments, int32_t count, Any *result);

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void *aligned(uint64_t bytes) {
  return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
}

static void *allocate(int type, int id, uint64_t bytes, int code, int bits) { return aligned(bytes); }

static int release(int type, int id, void *block) {
  free(block);
  return 0;
}

// As TVM's loader does: a library has a variable for each function of the runtime that it calls.
static void provide(void *library, const char *name, void *function) {
  void **variable = dlsym(library, name);
  if (variable) *variable = function;
}

static Kernel *find(const char *path, const char *symbol) {
  void *library = dlopen(path, RTLD_NOW);
  if (!library) fail(dlerror());
  provide(library, "__TVMBackendAllocWorkspace", allocate);
  provide(library, "__TVMBackendFreeWorkspace", release);
  Kernel *kernel = (Kernel *)dlsym(library, symbol);
  if (!kernel) fail(dlerror());
  return kernel;
}

static uint64_t read_tensor(Tensor *tensor, int64_t *shape) {
  int code, bits;
  if (scanf("%d %d %d", &code, &bits, &tensor->ndim) != 3 || tensor->ndim > MOST_DIMENSIONS) fail("bad tensor");
  uint64_t bytes = bits / 8;
  for (int axis = 0; axis < tensor->ndim; axis++) {
    if (scanf("%lld", (long long *)&shape[axis]) != 1) fail("bad shape");
    bytes *= shape[axis];
  }
  getchar();
  tensor->data = aligned(bytes);
  tensor->device_type = DEVICE_CPU;
  tensor->code = code;
  tensor->bits = bits;
  tensor->lanes = 1;
  tensor->shape = shape;
  if (fread(tensor->data, 1, bytes, stdin) != bytes) fail("short tensor");
  return bytes;
}

int main(void) {
  char path[4096], symbol[256];
  int count;
  while (scanf("%4095s %255s %d", path, symbol, &count) == 3) {
    Tensor tensors[MOST_TENSORS] = {0};
    int64_t shapes[MOST_TENSORS][MOST_DIMENSIONS];
    Any arguments[MOST_TENSORS] = {0}, result = {0};
    uint64_t bytes = 0;
    if (count < 1 || count > MOST_TENSORS) fail("bad count");
    for (int index = 0; index < count; index++) {
      bytes = read_tensor(&tensors[index], shapes[index]);
      arguments[index].type = TYPE_DLTENSOR;
      arguments[index].as_pointer = &tensors[index];
    }
    if (find(path, symbol)(NULL, arguments, count, &result)) fail("the kernel failed");
    fwrite(tensors[count - 1].data, 1, bytes, stdout);
    fflush(stdout);
    for (int index = 0; index < count; index++) free(tensors[index].data);
  }
  return 0;
}
