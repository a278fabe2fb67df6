package edgevit.app

import edgevit.core.Backend
import edgevit.core.Manifest
import java.io.File
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/** The target whose files this app loads. */
const val TARGET = "executorch"

fun openBackend(model: File, manifest: Manifest): Backend = ExecuTorchBackend(model, manifest.inputShape)

/** ExecuTorch; the file holds one delegate, XNNPACK, which its Android library has. */
class ExecuTorchBackend(file: File, private val shape: LongArray) : Backend {
    override val name = "ExecuTorch"

    // [snippet: load]
    private val module = Module.load(file.path) // of a file, not of an asset: copy it out of the APK first

    override fun run(input: FloatArray): FloatArray = run(Tensor.fromBlob(input, shape))

    override fun run(input: ByteArray): FloatArray = // of a file made with --input uint8
        run(Tensor.fromBlobUnsigned(input, shape))

    private fun run(input: Tensor): FloatArray = module.forward(EValue.from(input))[0].toTensor().dataAsFloatArray
    // [end]

    override fun close() = module.destroy()
}
