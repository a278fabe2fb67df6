package edgevit.core

import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject

/** A manifest of schema 1 as one of schema 2; what it says is checked afterwards, as of any other. */
internal fun fromSchema1(old: Json): Json {
    val golden = old["golden"]
    val input = old["inputs"].list().firstOrNull() ?: old["inputs"].wrong("a list with the input")
    val output = old["outputs"].list().firstOrNull() ?: old["outputs"].wrong("a list with the output")
    val present = Json.objectOf(old).deepCopy()
    present.add("conversion", JsonObject().apply {
        addProperty("takes", old["input_form"].text())
        addProperty("returns", old["output_form"].text())
    })
    present.add("golden", JsonObject().apply {
        add("input", array(input, golden, "input"))
        add("outputs", JsonArray().apply { add(array(output, golden, "output")) })
    })
    present["parity"]?.let { parity -> name(parity, output["name"].text()) }
    return Json.of(present)
}

/** What one array of the golden data is, which schema 1 spread over several fields. */
private fun array(tensor: Json, golden: Json, which: String) = JsonObject().apply {
    addProperty("name", tensor["name"].text())
    addProperty("path", golden["${which}_path"].text())
    add("shape", JsonArray().apply { golden["${which}_shape"].list().forEach { add(it.whole(1..MAX_VALUES)) } })
}

/** Names the output in each comparison: there was only one. */
private fun name(parity: JsonElement, output: String) {
    val diffs = (parity as? JsonObject)?.get("diffs") as? JsonArray ?: return
    diffs.filterIsInstance<JsonObject>().forEach { it.addProperty("output", output) }
}
