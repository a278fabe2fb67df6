import SwiftUI

@main
struct EdgeViTApp: App {
    @StateObject private var model = AppModel()

    var body: some Scene {
        WindowGroup { Screen(model: model) }
    }
}
