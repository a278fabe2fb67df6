package edgevit.core

import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject

/**
 * A manifest of schema 1 as one of schema 2; what it says is checked afterwards, as of any other.
 *
 * Only what changes is copied: a copy of all would call itself for each bracket of a stranger's, and end the app.
 */
internal fun fromSchema1(old: Json): Json {
    val golden = old["golden"]
    val input = old["inputs"].list().firstOrNull() ?: old["inputs"].wrong("a list with the input")
    val output = old["outputs"].list().firstOrNull() ?: old["outputs"].wrong("a list with the output")
    val present = shallow(Json.objectOf(old))
    present.add("conversion", JsonObject().apply {
        addProperty("takes", old["input_form"].text())
        addProperty("returns", old["output_form"].text())
    })
    present.add("golden", JsonObject().apply {
        add("input", array(input, golden, "input"))
        add("outputs", JsonArray().apply { add(array(output, golden, "output")) })
    })
    present["parity"]?.let { present.add("parity", named(it, output["name"].text())) }
    return Json.of(present)
}

/** What one array of the golden data is, which schema 1 spread over several fields. */
private fun array(tensor: Json, golden: Json, which: String) = JsonObject().apply {
    addProperty("name", tensor["name"].text())
    addProperty("path", golden["${which}_path"].text())
    add("shape", JsonArray().apply { golden["${which}_shape"].list().forEach { add(it.whole(1..MAX_VALUES)) } })
}

/** The comparisons, each with the name of its output: there was only one. */
private fun named(parity: JsonElement, output: String): JsonElement {
    val diffs = (parity as? JsonObject)?.get("diffs") as? JsonArray ?: return parity
    val renamed = JsonArray()
    for (diff in diffs) renamed.add(if (diff is JsonObject) shallow(diff).apply { addProperty("output", output) } else diff)
    return shallow(parity).apply { add("diffs", renamed) }
}

private fun shallow(old: JsonObject) = JsonObject().apply { old.entrySet().forEach { (name, value) -> add(name, value) } }
